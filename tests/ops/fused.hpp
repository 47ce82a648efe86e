// What every fused op is held to beside gradcheck: the same function composed of generic ops, and other element types.
#pragma once

#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <tuple>
#include <vector>

namespace hone::test {

using T64 = Tensor<double>;
using Results = std::vector<std::vector<double>>;  // a function's value, then the gradient of every input

/// The gradients are those of sum(cotangent * value) for a random cotangent with values of type Rounding.
template <class Rounding, class F, class... T>
Results values_and_gradients(const F& f, const Tensor<T>&... inputs) {
  auto leaves = std::make_tuple(inputs.detached()...);
  Results out;
  std::apply(
      [&](auto&... leaf) {
        (leaf.require_grad(), ...);
        const auto y = f(leaf...);
        out.push_back(doubles(y));
        using Element = typename std::decay_t<decltype(y)>::Element;
        y.backward(to<Element>(random_tensor<Rounding>(y.shape(), 99)));
        (out.push_back(doubles(leaf.gradient())), ...);
      },
      leaves);
  return out;
}

/// Every tensor within `tolerance` of the wanted one, relative to its norm.
inline Verdict same_results(const Results& got, const Results& wanted, double tolerance) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double error = std::sqrt(distance(got[i], wanted[i]).nmse);
    if (!(error <= tolerance))
      return {false, fmt::format("{} is off by {:.3g} of its norm",
                                 i == 0 ? "the value" : fmt::format("the gradient of input {}", i - 1), error)};
  }
  return {};
}

/// The fused op and the composed one, in double.
template <class F, class G, class... In>
Verdict agree(const F& fused, const G& composed, const In&... inputs) {
  return same_results(values_and_gradients<double>(fused, inputs...), values_and_gradients<double>(composed, inputs...),
                      1e-12);
}

/// `f` in T against `f` in double on the same, rounded, numbers.
template <class T, class F, class... In>
Verdict close_to_double(double tolerance, const F& f, const In&... inputs) {
  return same_results(values_and_gradients<T>(f, to<T>(inputs)...),
                      values_and_gradients<T>(f, to<double>(to<T>(inputs))...), tolerance);
}

/// The same in float and in bf16.
template <class F, class... In>
void check_precisions(const F& f, const In&... inputs) {
  CHECK(close_to_double<float>(2e-6, f, inputs...));
  CHECK(close_to_double<bf16>(1.5e-2, f, inputs...));
}

inline Tensor<std::int32_t> ids_of(const std::vector<std::int32_t>& values) {
  return Tensor<std::int32_t>::from(Cpu{}, {static_cast<std::int64_t>(values.size())}, values);
}

/// x / rms(x) * weight over the last axis.
template <class T>
Tensor<T> composed_rms_norm(const Tensor<T>& x, const Tensor<T>& weight, double eps) {
  return x * rsqrt(mean(x * x, -1, true) + eps) * weight;
}

/// One head (N, head_dim) rotated: the halves are the two coordinates of every pair.
template <class T>
Tensor<T> composed_rope(const Tensor<T>& x, const Tensor<T>& table) {
  const std::int64_t half = x.extent(1) / 2;
  const auto u = slice(x, 1, 0, half), v = slice(x, 1, half, 2 * half);
  const auto cosine = slice(table, 1, 0, half), sine = slice(table, 1, half, 2 * half);
  return concat({u * cosine - v * sine, v * cosine + u * sine}, 1);
}

}  // namespace hone::test
