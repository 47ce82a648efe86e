// Linear: y = x W^T + b, where W may be the stack of several parts (q, k, v) that keep their own gradients.
//   dx = dy W        dW_p = dy[:, p]^T x        db_p = sum over rows of dy[:, p]
// A quantised W is made dense in workspace for each of the two products with it, and has no gradient.
#pragma once

#include <hone/autograd/fill_copy.hpp>
#include <hone/autograd/tape.hpp>
#include <hone/cpu/bias.hpp>
#include <hone/cpu/dequantise.hpp>
#include <hone/ops/gemm.hpp>
#include <hone/quant/quantised_weight.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

namespace hone {

namespace kernel {
/// y += b on every row.
struct AddBias {
  static double flops(const auto&, const auto& y) { return flops_per_element(1, y); }
  static Traffic traffic(const auto& bias, const auto& y) { return {bytes_of(bias) + bytes_of(y), bytes_of(y)}; }
};
/// db (+)= sum over rows of dy.
struct SumOfRows {
  static double flops(const auto& dy, const auto&, bool) { return flops_per_element(1, dy); }
};
}  // namespace kernel

/// A range of rows of a stacked weight, under its own name and with its own gradient.
template <class T, Device D>
struct WeightPart {
  std::int64_t begin = 0;  ///< first row in the stack = first column of the output
  Tensor<T, D> weight;     ///< (rows, in): those rows of the stack; undefined where they are quantised
  Tensor<T, D> bias;       ///< (rows), or undefined
  std::shared_ptr<const QuantisedWeight<D>> quantised = nullptr;  ///< (rows, in), in place of `weight`

  const Shape& shape() const { return quantised != nullptr ? quantised->shape() : weight.shape(); }
  std::int64_t rows() const { return shape()[0]; }
};

/// A stack some of whose parts are quantised. Each product with it is one with dense().
template <class T, Device D>
struct QuantisedStack {
  D device;
  Shape shape;  ///< (rows of all parts, in)
  std::vector<WeightPart<T, D>> parts;

  /// The stack in workspace of its own; parts that are not quantised are copied.
  Tensor<T, D> dense() const {
    auto out = Tensor<T, D>::empty(device, shape, {Category::workspace, "dequantised"});
    for (const WeightPart<T, D>& part : parts) {
      const auto rows = out.rows(part.begin, part.rows());
      if (part.quantised != nullptr)
        dequantise(*part.quantised, rows);
      else
        copy_into(part.weight, rows);
    }
    return out;
  }
};

/// What a linear multiplies with: one dense matrix, or parts of which some are quantised.
template <class T, Device D>
using Weight = std::variant<Tensor<T, D>, std::shared_ptr<const QuantisedStack<T, D>>>;

template <class T, Device D>
const Shape& shape_of(const Weight<T, D>& weight) {
  const auto* stack = std::get_if<1>(&weight);
  return stack != nullptr ? (*stack)->shape : std::get<0>(weight).shape();
}

/// The matrix itself, or one made for this product.
template <class T, Device D>
Tensor<T, D> dense(const Weight<T, D>& weight) {
  const auto* stack = std::get_if<1>(&weight);
  return stack != nullptr ? (*stack)->dense() : std::get<0>(weight).detached();
}

/// The most parts one linear stacks (q, k and v).
inline constexpr std::size_t max_weight_parts = 3;

namespace detail {

template <class T, Device D>
struct LinearSaved {
  struct PartSlots {
    std::int64_t begin = 0, rows = 0;
    std::shared_ptr<GradientSlot<T, D>> weight, bias;
  };
  Tensor<T, D> x;  // (N, in); undefined when every weight is frozen
  Weight<T, D> weight;
  std::shared_ptr<GradientSlot<T, D>> x_slot;
  std::array<PartSlots, max_weight_parts> parts;

  void backward(const Tensor<T, D>& dy) const {
    for (const PartSlots& part : parts) {
      if (part.weight == nullptr && part.bias == nullptr) continue;
      const auto dy_part = dy.columns(part.begin, part.rows);  // (N, rows)
      if (part.weight != nullptr)
        part.weight->contribute_weight(dy.device(), [&](const auto& dw, bool accumulate) {
          gemm(dy_part, x, dw, {.transpose_a = true, .accumulate = accumulate});
        });
      if (part.bias != nullptr)
        part.bias->contribute_weight(dy.device(), [&](const auto& db, bool accumulate) {
          run_kernel<kernel::SumOfRows>(dy.device(), dy_part.template in<2>(), db.template view<1>(), accumulate);
        });
    }
    if (x_slot != nullptr)
      x_slot->contribute(dy.device(), [&](const Tensor<T, D>& dx, bool accumulate) {
        gemm(dy, dense<T, D>(weight), dx, {.accumulate = accumulate});
      });
  }
};

}  // namespace detail

/// y (N, out) = x (N, in) weight^T (out, in), plus the parts' biases. `parts` are ranges of `weight`, at most three. y
/// is booked under `name`.
template <class T, Device D>
Tensor<T, D> linear(const Tensor<T, D>& x, const std::type_identity_t<Weight<T, D>>& weight,
                    std::span<const WeightPart<T, D>> parts, std::string_view name = "linear") {
  const Shape& shape = shape_of<T, D>(weight);
  check(x.rank() == 2 && shape.rank() == 2 && x.extent(1) == shape[1],
        "[linear] x {} must have as many columns as weight {}", x.shape(), shape);
  check(parts.size() <= max_weight_parts, "[linear] {} stacked parts, at most {} are supported", parts.size(),
        max_weight_parts);
  auto y = Tensor<T, D>::empty(x.device(), {x.extent(0), shape[0]}, {Category::activations, name});
  gemm(x, dense<T, D>(weight), y, {.transpose_b = true});
  detail::LinearSaved<T, D> saved{{}, weight, x.slot(), {}};
  bool weights_train = false, biases_train = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const WeightPart<T, D>& part = parts[i];
    saved.parts[i] = {part.begin, part.rows(), part.weight.slot(), part.bias.slot()};
    weights_train = weights_train || part.weight.requires_grad();
    biases_train = biases_train || part.bias.requires_grad();
    if (!part.bias.defined()) continue;
    const auto y_part = y.columns(part.begin, part.rows());
    run_kernel<kernel::AddBias>(y.device(), part.bias.template in<1>(), y_part.template view<2>());
  }
  if (!grad_enabled() || !(x.requires_grad() || weights_train || biases_train)) return y;
  if (weights_train) saved.x = x.detached();
  record(std::move(saved), y);
  return y;
}

/// The plain case: one weight (out, in) and, if defined, one bias (out).
template <class T, Device D>
Tensor<T, D> linear(const Tensor<T, D>& x, const Tensor<T, D>& weight, const Tensor<T, D>& bias = {}) {
  const std::array<WeightPart<T, D>, 1> parts{{{0, weight, bias}}};
  return linear(x, weight.detached(), std::span<const WeightPart<T, D>>(parts));
}

}  // namespace hone
