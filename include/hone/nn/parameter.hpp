// Parameter: a handle on a named weight whose element type is a run-time value.
#pragma once

#include <hone/autograd/backward.hpp>
#include <hone/nn/policy.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

/// A weight under its Hugging Face name. The variant holds the tensor itself; storage and gradient slot are shared with
/// the module it belongs to.
template <Device D>
struct Parameter {
  std::string name;
  std::variant<Tensor<float, D>, Tensor<bf16, D>, Tensor<double, D>> value;

  std::int64_t elements() const {
    return std::visit([](const auto& tensor) { return tensor.elements(); }, value);
  }
  DType dtype() const {
    return std::visit([](const auto& tensor) { return dtype_of<typename std::decay_t<decltype(tensor)>::Element>; },
                      value);
  }
  const Shape& shape() const {
    return std::visit([](const auto& tensor) -> const Shape& { return tensor.shape(); }, value);
  }
  bool trainable() const {
    return std::visit([](const auto& tensor) { return tensor.requires_grad(); }, value);
  }
};

/// How many supervised tokens the gradients of a model are the sum over; the optimizer divides by it.
struct GradientTokens {
  std::int64_t count = 0;
};

/// The parameters an optimizer updates, with the token count of the model they belong to.
template <Device D>
struct ParameterList {
  std::vector<Parameter<D>> items;
  std::shared_ptr<GradientTokens> tokens;

  std::int64_t elements() const {
    std::int64_t total = 0;
    for (const auto& item : items) total += item.elements();
    return total;
  }
};

/// Gives a weight a gradient buffer that stays between steps, booked as gradients. `wide` sums a bf16 weight in float.
template <class T, Device D>
void make_trainable(Tensor<T, D>& weight, GradientPrecision precision = GradientPrecision::same) {
  if (weight.requires_grad()) return;
  const Label label{Category::gradients, "gradients"};
  if (precision == GradientPrecision::wide && sizeof(T) < sizeof(float)) {
    weight.set_slot(std::make_shared<GradientSlot<T, D>>(
        Tensor<float, D>::empty(weight.device(), weight.shape(), label), std::true_type{}));
  } else {
    weight.set_slot(std::make_shared<GradientSlot<T, D>>(Tensor<T, D>::empty(weight.device(), weight.shape(), label)));
  }
}

template <class T, Device D>
void freeze(Tensor<T, D>& weight) {
  weight.set_slot(nullptr);
}

}  // namespace hone
