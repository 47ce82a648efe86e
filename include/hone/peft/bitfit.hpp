// BitFit (Ben Zaken et al., 2022): of a model only its biases train.
#pragma once

#include <hone/ops/columns.hpp>
#include <hone/peft/lora.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// What to attach. There is nothing to choose.
struct BitFit {
  static constexpr std::string_view method = "bitfit";

  template <class F>
  void visit_settings(F&&) const {}
};

/// y += b beside a linear's part: the change of the bias that the base has there, or of none.
template <class T, Device D>
class BitFitBypass {
 public:
  using A = Accumulator<T>;

  BitFitBypass(const D& device, std::int64_t out)
      : b_(Tensor<A, D>::empty(device, {out}, {Category::weights, "bitfit_b"})) {
    fill(b_, A{0});
    make_trainable(b_);
  }

  void apply(const LinearSite<T, D>& at) const { add_columns_in_place(at.y, at.begin, b_); }
  BypassKind kind() const { return {"b", Form::parallel, Composition::add}; }
  void visit(WeightVisitor<D> visitor) { visitor("bitfit_b", &b_); }
  /// The part's bias, which must be there, takes up the change.
  void merge(const Linear<T, D>& linear, std::size_t part) const {
    auto bias = linear.part(part).bias.viewed_as({1, b_.extent(0)});
    add_columns_in_place(bias, 0, b_.detached());
  }

 private:
  Tensor<A, D> b_;  // (out)
};

/// Freezes the base and lets the biases of its linears change; a base that has none gets zero biases beside all of
/// them. Changes are float, begin at zero and are kept apart from the base. Returns the paths.
template <class Model>
std::vector<std::string> attach(Model& model, const BitFit&) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  bool has_bias = false;
  model.visit_linears([&](const std::string&, Linear<T, D>& linear, std::size_t part) {
    has_bias = has_bias || linear.part(part).bias.defined();
  });
  std::vector<std::string> paths;
  model.set_base_trainable(false);
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    if (has_bias && !linear.part(part).bias.defined()) return;
    linear.bypasses(part).emplace_back(BitFitBypass<T, D>(linear.device(), linear.out(part)));
    paths.push_back(path);
  });
  return paths;
}

}  // namespace hone
