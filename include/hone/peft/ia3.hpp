// IA3 (Liu et al., 2022): learned vectors that scale keys, values and what goes into the feed-forward's last product.
#pragma once

#include <hone/ops/columns.hpp>
#include <hone/ops/dora.hpp>
#include <hone/peft/lora.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

namespace detail {
// Functions: g++ 12 fails on lists of strings that stand in the struct itself.
inline std::vector<std::string> ia3_targets() { return {"k_proj", "v_proj", "down_proj"}; }
inline std::vector<std::string> ia3_inputs() { return {"down_proj"}; }
}  // namespace detail

/// What to attach; names of PEFT's IA3Config, defaults as PEFT has them for Llama.
struct IA3 {
  static constexpr std::string_view method = "ia3";

  std::vector<std::string> target_modules = detail::ia3_targets();
  std::vector<std::string> feedforward_modules =
      detail::ia3_inputs();  ///< of those: the input is scaled, not the output

  /// f(key, value) for every setting, by its key.
  template <class F>
  void visit_settings(F&& f) const {
    f("target_modules", target_modules);
    f("feedforward_modules", feedforward_modules);
  }
};

/// y *= l on the output of a linear's part.
template <class T, Device D>
class Ia3Bypass {
 public:
  using A = Accumulator<T>;

  Ia3Bypass(const D& device, std::int64_t out) : l_(Tensor<A, D>::empty(device, {out}, {Category::weights, "ia3_l"})) {
    fill(l_, A{1});
    make_trainable(l_);
  }

  void apply(const LinearSite<T, D>& at) const { scale_columns_in_place(at.y, at.begin, l_); }
  BypassKind kind() const { return {"l", Form::sequential, Composition::multiply}; }
  void visit(WeightVisitor<D> visitor) { visitor("ia3_l", &l_); }
  /// l (W x + b) = (diag(l) W) x + l b: the rows of the weight are scaled, and the bias.
  void merge(const Linear<T, D>& linear, std::size_t part) const {
    const auto ones = Tensor<A, D>::empty(l_.device(), l_.shape(), {Category::workspace, "ones"});
    fill(ones, A{1});
    dora_scale_rows(linear.part(part).weight.detached(), l_.detached(), ones);
    if (!linear.part(part).bias.defined()) return;
    auto bias = linear.part(part).bias.viewed_as({1, l_.extent(0)});
    scale_columns_in_place(bias, 0, l_.detached());
  }

 private:
  Tensor<A, D> l_;  // (out)
};

/// x *= l on the input of a linear.
template <class T, Device D>
class Ia3InputBypass {
 public:
  using A = Accumulator<T>;

  Ia3InputBypass(const D& device, std::int64_t in)
      : l_(Tensor<A, D>::empty(device, {in}, {Category::weights, "ia3_l"})) {
    fill(l_, A{1});
    make_trainable(l_);
  }

  void apply(const LinearInputSite<T, D>& at) const { at.x = scale_columns(at.x, l_); }
  BypassKind kind() const { return {"l", Form::sequential, Composition::multiply}; }
  void visit(WeightVisitor<D> visitor) { visitor("ia3_l", &l_); }
  /// W (l x) = (W diag(l)) x: the columns of the weight are scaled.
  void merge(const Linear<T, D>& linear, std::size_t part) const {
    auto weight = linear.part(part).weight.detached();
    scale_columns_in_place(weight, 0, l_.detached());
  }

 private:
  Tensor<A, D> l_;  // (in)
};

namespace detail {

/// Whether any entry picks the module at `path`.
inline bool any_targets(const std::vector<std::string>& entries, const std::string& path) {
  return std::any_of(entries.begin(), entries.end(), [&](const std::string& entry) { return targets(entry, path); });
}

/// Throws when an entry picks no linear of the model, with the nearest names there are.
template <class Model>
void check_entries(Model& model, std::string_view method, std::string_view key,
                   const std::vector<std::string>& entries) {
  std::vector<std::string> paths;
  model.visit_linears([&](const std::string& path, auto&, std::size_t) { paths.push_back(path); });
  const auto none_of = [&](const std::string& entry) {
    return std::none_of(paths.begin(), paths.end(), [&](const std::string& path) { return targets(entry, path); });
  };
  for (const std::string& entry : entries)
    if (none_of(entry)) fail_to_match(method, key, entry, paths);
}

}  // namespace detail

/// Freezes the base and puts a vector of ones on every linear that is picked. Returns the picked paths. Throws when an
/// entry picks nothing, or when the input of a linear is to be scaled that others share (q, k, v; gate, up).
template <class Model>
std::vector<std::string> attach(Model& model, const IA3& config) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  detail::check_entries(model, "ia3", "target_modules", config.target_modules);
  detail::check_entries(model, "ia3", "feedforward_modules", config.feedforward_modules);
  std::vector<std::string> paths;
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t) {
    if (!detail::any_targets(config.target_modules, path)) return;
    check(linear.part_count() == 1 || !detail::any_targets(config.feedforward_modules, path),
          "[ia3] feedforward_modules: the input of {} is that of other modules too and cannot be scaled alone", path);
    paths.push_back(path);
  });
  check(!paths.empty(), "[ia3] target_modules is empty");
  model.set_base_trainable(false);
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    if (!detail::any_targets(config.target_modules, path)) return;
    if (detail::any_targets(config.feedforward_modules, path))
      linear.input_bypasses().emplace_back(Ia3InputBypass<T, D>(linear.device(), linear.in()));
    else
      linear.bypasses(part).emplace_back(Ia3Bypass<T, D>(linear.device(), linear.out(part)));
  });
  return paths;
}

}  // namespace hone
