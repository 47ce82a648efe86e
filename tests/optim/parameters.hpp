// Small parameters for the optimizers' tests, whose gradients are put into their slots directly.
#pragma once

#include <hone/nn/parameter.hpp>

#include "support/compare.hpp"
#include "support/random.hpp"

#include <map>
#include <string>
#include <vector>

namespace hone::test {

template <class T>
Tensor<T> trainable(const Shape& shape, std::uint64_t seed, GradientPrecision precision = GradientPrecision::same) {
  auto weight = random_tensor<T>(shape, seed);
  make_trainable(weight, precision);
  return weight;
}

/// The tensors as "p0", "p1", ... with a token count of their own.
template <class... T>
ParameterList<Cpu> parameters_of(const Tensor<T>&... weights) {
  ParameterList<Cpu> list{{}, std::make_shared<GradientTokens>()};
  (list.items.push_back({"p" + std::to_string(list.items.size()), weights}), ...);
  return list;
}

template <class T>
void give_gradient(const Tensor<T>& weight, const std::vector<T>& values) {
  weight.slot()->absorb(Tensor<T>::from(Cpu{}, weight.shape(), values));
}

/// Every tensor of an optimizer's state, by name.
template <class Optimizer>
std::map<std::string, std::vector<double>> state_of(Optimizer& optimizer) {
  std::map<std::string, std::vector<double>> out;
  optimizer.visit_state([&](const std::string& name, const auto& tensor) { out[name] = doubles(tensor); });
  return out;
}

inline double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

}  // namespace hone::test
