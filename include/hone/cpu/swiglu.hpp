// SwiGLU on the CPU: the gated half of a Llama MLP, gate and up being the two halves of one fused projection.
//   y = silu(g) * u,  silu(g) = g s,  s = 1 / (1 + exp(-g))                                        (Shazeer, 2020)
//   dg = dy * u * s * (1 + g (1 - s)),  du = dy * g * s
#pragma once

#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct SwigluForward;
struct SwigluBackward;
}  // namespace kernel

namespace cpu {

template <class T, class S>
void swiglu_row(const T* gate, const T* up, std::int64_t cols, T* y) {
  for (std::int64_t col = 0; col < cols; ++col) {
    const S g = static_cast<S>(gate[col]), u = static_cast<S>(up[col]);
    y[col] = static_cast<T>(g / (S{1} + std::exp(-g)) * u);
  }
}

template <class T, class S>
void swiglu_backward_row(const T* dy, const T* gate, const T* up, std::int64_t cols, T* dgate, T* dup,
                         bool accumulate) {
  for (std::int64_t col = 0; col < cols; ++col) {
    const S d = static_cast<S>(dy[col]), g = static_cast<S>(gate[col]), u = static_cast<S>(up[col]);
    const S s = S{1} / (S{1} + std::exp(-g));
    const S dg = d * u * s * (S{1} + g * (S{1} - s)), du = d * g * s;
    dgate[col] = static_cast<T>((accumulate ? static_cast<S>(dgate[col]) : S{0}) + dg);
    dup[col] = static_cast<T>((accumulate ? static_cast<S>(dup[col]) : S{0}) + du);
  }
}

}  // namespace cpu

/// y (N, F) = silu(gate) * up, with gate = gate_up[:, :F] and up = gate_up[:, F:].
template <class T>
void run(Tag<kernel::SwigluForward>, Cpu& device, In<T, 2> gate_up, View<T, 2> y) {
  const std::int64_t cols = y.extent(1);
  cpu::for_rows(device, y.rows(), cols, [&](std::int64_t row) {
    cpu::swiglu_row<T, Accumulator<T>>(gate_up.row(row), gate_up.row(row) + cols, cols, y.row(row));
  });
}

/// dgate_up (N, 2F), overwritten or added to.
template <class T>
void run(Tag<kernel::SwigluBackward>, Cpu& device, In<T, 2> dy, In<T, 2> gate_up, View<T, 2> dgate_up,
         bool accumulate) {
  const std::int64_t cols = dy.extent(1);
  cpu::for_rows(device, dgate_up.rows(), cols, [&](std::int64_t row) {
    const T* gate = gate_up.row(row);
    T* out = dgate_up.row(row);
    cpu::swiglu_backward_row<T, Accumulator<T>>(dy.row(row), gate, gate + cols, cols, out, out + cols, accumulate);
  });
}

}  // namespace hone
