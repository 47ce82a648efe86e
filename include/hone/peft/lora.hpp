// LoRA (Hu et al., 2021): y += (alpha / r) dropout(x) A^T B^T beside chosen linears of a frozen base.
#pragma once

#include <hone/autograd/random.hpp>
#include <hone/core/glob.hpp>
#include <hone/nn/init.hpp>
#include <hone/nn/linear.hpp>
#include <hone/ops/lora.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace hone {

/// What to attach; names and defaults of PEFT's LoraConfig where it has them.
struct LoRA {
  std::int64_t r = 8;
  double alpha = 8;
  double dropout = 0;
  bool use_rslora = false;  ///< scale alpha / sqrt(r) instead of alpha / r
  std::uint64_t seed = 42;  ///< of A's initialisation

  double scale() const { return alpha / (use_rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r)); }
  void validate() const {
    check(r >= 1 && r <= 65536, "[lora] rank r = {} must lie between 1 and 65536", r);
    check(std::isfinite(alpha), "[lora] alpha must be a finite number");
    check(dropout >= 0 && dropout < 1, "[lora] dropout {} must lie in [0, 1)", dropout);
  }
};

/// The bypass that LoRA puts beside one linear.
template <class T, Device D>
class LoraBypass {
 public:
  using A = AdapterElement<T>;

  /// A drawn as PEFT does (Kaiming uniform with a = sqrt 5: bound 1 / sqrt(in)), B zero; both trainable.
  LoraBypass(const LoRA& config, const D& device, std::int64_t in, std::int64_t out, const std::string& path)
      : config_(config) {
    a_ = Tensor<A, D>::empty(device, {config.r, in}, {Category::weights, "lora_A"});
    b_ = Tensor<A, D>::empty(device, {out, config.r}, {Category::weights, "lora_B"});
    fill_uniform(a_, 1.0 / std::sqrt(static_cast<double>(in)), config.seed, stream_of(path));
    fill(b_, A{0});
    make_trainable(a_);
    make_trainable(b_);
  }

  void apply(const LinearSite<T, D>& at) const {
    DropoutDraw draw;
    if (config_.dropout > 0 && training()) draw = {config_.dropout, default_generator().next(at.x.elements())};
    add_lora(at.x, a_, b_, config_.scale(), draw, at.y, at.begin);
  }
  BypassKind kind() const { return {"s B A x", Form::parallel, Composition::add}; }
  void visit(WeightVisitor<D> visitor) {
    visitor("lora_A.weight", &a_);
    visitor("lora_B.weight", &b_);
  }

  const LoRA& config() const { return config_; }
  Tensor<A, D>& a() { return a_; }
  Tensor<A, D>& b() { return b_; }

 private:
  LoRA config_;
  Tensor<A, D> a_;  // (r, in)
  Tensor<A, D> b_;  // (out, r)
};

/// Whether PEFT's target_modules entry picks the module at `path`: "all-linear", a name ("q_proj": that module or any
/// whose path ends in ".q_proj") or a glob over the whole path ("*.{q,v}_proj").
inline bool targets(const std::string& entry, const std::string& path) {
  if (entry == "all-linear") return true;
  if (entry.find_first_of("*?{") != std::string::npos) return Glob(entry).matches(path);
  return path == entry || path.ends_with("." + entry);
}

namespace detail {

/// Throws when an entry picks no linear of the model.
template <class Model>
void check_targets(Model& model, const std::vector<std::string>& target_modules) {
  for (const std::string& entry : target_modules) {
    bool used = false;
    model.visit_linears([&](const std::string& path, auto&, std::size_t) { used = used || targets(entry, path); });
    check(used,
          "[lora] target_modules: '{}' matches no linear of this model (they are named like "
          "model.layers.0.self_attn.q_proj)",
          entry);
  }
}

}  // namespace detail

/// Freezes the base and puts `config` beside every linear that one of `target_modules` picks. Returns the picked paths.
/// Throws when an entry picks nothing.
template <class Model>
std::vector<std::string> attach(Model& model, const std::vector<std::string>& target_modules, const LoRA& config) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  config.validate();
  detail::check_targets(model, target_modules);  // before anything is changed
  std::vector<std::string> paths;
  model.set_base_trainable(false);
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    const auto picks = [&](const std::string& entry) { return targets(entry, path); };
    if (std::none_of(target_modules.begin(), target_modules.end(), picks)) return;
    const auto& weight = linear.part(part).weight;  // (out, in)
    linear.bypasses(part).emplace_back(
        LoraBypass<T, D>(config, weight.device(), weight.extent(1), weight.extent(0), path));
    paths.push_back(path);
  });
  return paths;
}

/// The same for one glob: `attach(model, "*.{q,v}_proj", LoRA{.r = 8, .alpha = 16})`.
template <class Model>
std::vector<std::string> attach(Model& model, const std::string& target_modules, const LoRA& config) {
  return attach(model, std::vector<std::string>{target_modules}, config);
}

/// Adds every LoRA delta to its base weight, W += scale B A, rounded once, and removes the bypasses.
template <class Model>
void merge(Model& model) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  const no_grad guard;
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    for (const Bypass<T, D>& bypass : linear.bypasses(part)) {
      auto* lora = bypass.template get_if<LoraBypass<T, D>>();
      check(lora != nullptr, "[merge] the adapter beside {} cannot be merged", path);
      gemm(lora->b(), lora->a(), linear.part(part).weight.detached(),
           {.alpha = lora->config().scale(), .accumulate = true});
    }
    linear.bypasses(part).clear();
  });
}

}  // namespace hone
