// Linear: one stacked weight, dense or quantised, the Hugging Face parts it is made of, and the bypasses beside each.
#pragma once

#include <hone/nn/bypass.hpp>
#include <hone/ops/linear.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// y = x W^T + b over the parts of one stacked weight, e.g. q_proj, k_proj and v_proj, so that one matrix product
/// serves them all while each keeps its name, its gradient and its adapters.
template <class T, Device D>
class Linear {
 public:
  struct PartSpec {
    std::string name;  ///< "q_proj"
    std::int64_t rows = 0;
  };

  /// How the parts are stored: as Quantisation says of "<path><name of the part>", or all dense.
  struct Storage {
    std::optional<Quantisation> quantisation = std::nullopt;
    std::string path = {};
  };

  /// Uninitialised weights (sum of rows, in). They and the outputs are booked under `label`.
  Linear(const D& device, std::int64_t in, const std::vector<PartSpec>& specs, bool bias, std::string_view label,
         const Storage& storage = {})
      : label_(label), device_(device), in_(in) {
    std::int64_t rows = 0;
    bool any_quantised = false;
    for (const PartSpec& spec : specs) {
      rows += spec.rows;
      any_quantised = any_quantised || quantised(storage, spec);
    }
    const Label booked{Category::weights, label};
    Tensor<T, D> stack, biases;
    if (!any_quantised) stack = Tensor<T, D>::empty(device, {rows, in}, booked);
    if (bias) biases = Tensor<T, D>::empty(device, {rows}, booked);
    std::int64_t begin = 0;
    for (const PartSpec& spec : specs) {
      names_.push_back(spec.name);
      WeightPart<T, D> part{begin, {}, bias ? biases.rows(begin, spec.rows) : Tensor<T, D>{}};
      if (!any_quantised)
        part.weight = stack.rows(begin, spec.rows);
      else if (quantised(storage, spec))
        part.quantised =
            std::make_shared<QuantisedWeight<D>>(device, Shape{spec.rows, in}, *storage.quantisation, label);
      else
        part.weight = Tensor<T, D>::empty(device, {spec.rows, in}, booked);
      parts_.push_back(std::move(part));
      begin += spec.rows;
    }
    if (any_quantised)
      weight_ = std::make_shared<const QuantisedStack<T, D>>(QuantisedStack<T, D>{device, {rows, in}, parts_});
    else
      weight_ = stack;
    bypasses_.resize(parts_.size());
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    if (input_bypasses_.empty()) return product(x);
    Tensor<T, D> changed = x;
    for (const auto& bypass : input_bypasses_) bypass.apply({changed});
    return product(changed);
  }

  const D& device() const { return device_; }
  std::int64_t in() const { return in_; }                                   ///< columns of the weight
  std::int64_t out(std::size_t part) const { return parts_[part].rows(); }  ///< rows of a part
  /// The weight of a part, (out, in): the tensor itself, or a dense copy of what is quantised, booked as workspace.
  Tensor<T, D> dense_part(std::size_t part) const {
    const WeightPart<T, D>& one = parts_[part];
    if (one.quantised == nullptr) return one.weight.detached();
    auto copy = Tensor<T, D>::empty(device_, one.shape(), {Category::workspace, "dequantised"});
    dequantise(*one.quantised, copy);
    return copy;
  }

  std::size_t part_count() const { return parts_.size(); }
  const std::string& part_name(std::size_t part) const { return names_[part]; }
  WeightPart<T, D>& part(std::size_t index) { return parts_[index]; }
  const WeightPart<T, D>& part(std::size_t index) const { return parts_[index]; }
  std::vector<Bypass<T, D>>& bypasses(std::size_t part) { return bypasses_[part]; }
  /// What changes x before any part sees it.
  std::vector<BypassAt<LinearInputSite<T, D>>>& input_bypasses() { return input_bypasses_; }

  /// f(name, tensor) for every dense weight and bias of the base, under `path`.
  template <class F>
  void visit(const std::string& path, F&& f) {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].weight.defined()) f(path + names_[i] + ".weight", parts_[i].weight);
      if (parts_[i].bias.defined()) f(path + names_[i] + ".bias", parts_[i].bias);
    }
  }
  /// f(module path, *this, part index) for every part.
  template <class F>
  void visit_linears(const std::string& path, F&& f) {
    for (std::size_t i = 0; i < parts_.size(); ++i) f(path + names_[i], *this, i);
  }

 private:
  static bool quantised(const Storage& storage, const PartSpec& spec) {
    return storage.quantisation && !is_skipped(*storage.quantisation, storage.path + spec.name);
  }
  /// The parts' outputs with what their bypasses make of them.
  Tensor<T, D> product(const Tensor<T, D>& x) const {
    auto y = linear(x, weight_, std::span<const WeightPart<T, D>>(parts_), label_);
    for (std::size_t part = 0; part < parts_.size(); ++part)
      for (const Bypass<T, D>& bypass : bypasses_[part]) bypass.apply({x, y, parts_[part].begin});
    return y;
  }

  std::string label_;
  D device_;
  std::int64_t in_;
  Weight<T, D> weight_;
  std::vector<std::string> names_;
  std::vector<WeightPart<T, D>> parts_;
  std::vector<std::vector<Bypass<T, D>>> bypasses_;
  std::vector<BypassAt<LinearInputSite<T, D>>> input_bypasses_;
};

/// f(module path, QuantisedWeight) for every linear of a model that is stored so.
template <class Model, class F>
void visit_quantised(Model& model, F&& f) {
  const auto visit = [&](const std::string& path, auto& linear, std::size_t part) {
    if (linear.part(part).quantised != nullptr) f(path, *linear.part(part).quantised);
  };
  if constexpr (requires { model.visit_linears(visit); }) model.visit_linears(visit);
}

}  // namespace hone
