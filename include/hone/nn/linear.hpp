// Linear: one stacked weight, the Hugging Face parts it is made of, and the bypasses beside each part.
#pragma once

#include <hone/nn/bypass.hpp>
#include <hone/ops/linear.hpp>

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

  /// Uninitialised weights (sum of rows, in). They and the outputs are booked under `label`.
  Linear(const D& device, std::int64_t in, const std::vector<PartSpec>& specs, bool bias, std::string_view label)
      : label_(label) {
    std::int64_t rows = 0;
    for (const PartSpec& spec : specs) rows += spec.rows;
    weight_ = Tensor<T, D>::empty(device, {rows, in}, {Category::weights, label});
    Tensor<T, D> biases;
    if (bias) biases = Tensor<T, D>::empty(device, {rows}, {Category::weights, label});
    std::int64_t begin = 0;
    for (const PartSpec& spec : specs) {
      names_.push_back(spec.name);
      parts_.push_back({begin, weight_.rows(begin, spec.rows), bias ? biases.rows(begin, spec.rows) : Tensor<T, D>{}});
      begin += spec.rows;
    }
    bypasses_.resize(parts_.size());
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    if (input_bypasses_.empty()) return product(x);
    Tensor<T, D> changed = x;
    for (const auto& bypass : input_bypasses_) bypass.apply({changed});
    return product(changed);
  }

  std::size_t part_count() const { return parts_.size(); }
  const std::string& part_name(std::size_t part) const { return names_[part]; }
  WeightPart<T, D>& part(std::size_t index) { return parts_[index]; }
  const WeightPart<T, D>& part(std::size_t index) const { return parts_[index]; }
  std::vector<Bypass<T, D>>& bypasses(std::size_t part) { return bypasses_[part]; }
  /// What changes x before any part sees it.
  std::vector<BypassAt<LinearInputSite<T, D>>>& input_bypasses() { return input_bypasses_; }

  /// f(name, tensor) for every weight and bias of the base, under `path`.
  template <class F>
  void visit(const std::string& path, F&& f) {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      f(path + names_[i] + ".weight", parts_[i].weight);
      if (parts_[i].bias.defined()) f(path + names_[i] + ".bias", parts_[i].bias);
    }
  }
  /// f(module path, *this, part index) for every part.
  template <class F>
  void visit_linears(const std::string& path, F&& f) {
    for (std::size_t i = 0; i < parts_.size(); ++i) f(path + names_[i], *this, i);
  }

 private:
  /// The parts' outputs with what their bypasses make of them.
  Tensor<T, D> product(const Tensor<T, D>& x) const {
    auto y = linear(x, weight_, std::span<const WeightPart<T, D>>(parts_), label_);
    for (std::size_t part = 0; part < parts_.size(); ++part)
      for (const Bypass<T, D>& bypass : bypasses_[part]) bypass.apply({x, y, parts_[part].begin});
    return y;
  }

  std::string label_;
  Tensor<T, D> weight_;
  std::vector<std::string> names_;
  std::vector<WeightPart<T, D>> parts_;
  std::vector<std::vector<Bypass<T, D>>> bypasses_;
  std::vector<BypassAt<LinearInputSite<T, D>>> input_bypasses_;
};

}  // namespace hone
