// Pointwise non-linearities and their slopes on the processor.
#pragma once

#include <hone/cpu/fill_copy.hpp>
#include <hone/tensor/activation.hpp>

#include <cmath>
#include <numbers>

namespace hone {

namespace kernel {
struct ActivationForward;
struct ActivationBackward;
}  // namespace kernel

namespace cpu {

template <class S>
S activation_value(Activation kind, S x) {
  switch (kind) {
    case Activation::relu:
      return x > 0 ? x : S{0};
    case Activation::gelu:
      return x * S(0.5) * (1 + std::erf(x / std::numbers::sqrt2_v<S>));
    case Activation::swish:
      return x / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::leakyrelu:
      return x > 0 ? x : S(0.01) * x;
  }
  return x;
}

/// The derivative; 0 at the kink of relu, as torch has it.
template <class S>
S activation_slope(Activation kind, S x) {
  switch (kind) {
    case Activation::relu:
      return x > 0 ? S{1} : S{0};
    case Activation::gelu: {
      const S density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi_v<S> / std::numbers::sqrt2_v<S>;
      return S(0.5) * (1 + std::erf(x / std::numbers::sqrt2_v<S>)) + x * density;
    }
    case Activation::swish: {
      const S s = 1 / (1 + std::exp(-x));
      return s * (1 + x * (1 - s));
    }
    case Activation::tanh: {
      const S y = std::tanh(x);
      return 1 - y * y;
    }
    case Activation::leakyrelu:
      return x > 0 ? S{1} : S(0.01);
  }
  return S{1};
}

}  // namespace cpu

/// y (N, C) = f(x).
template <class A>
void run(Tag<kernel::ActivationForward>, Cpu& device, Activation kind, In<A, 2> x, View<A, 2> y) {
  cpu::for_row_pieces(device, y, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y(row, i) = cpu::activation_value(kind, x(row, i));
  });
}

/// dx (N, C) (+)= dy f'(x).
template <class A>
void run(Tag<kernel::ActivationBackward>, Cpu& device, Activation kind, In<A, 2> dy, In<A, 2> x, View<A, 2> dx,
         bool accumulate) {
  cpu::for_row_pieces(device, dx, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const A value = dy(row, i) * cpu::activation_slope(kind, x(row, i));
      dx(row, i) = accumulate ? dx(row, i) + value : value;
    }
  });
}

}  // namespace hone
