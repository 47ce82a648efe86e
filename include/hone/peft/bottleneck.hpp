// Bottleneck adapters: Houlsby et al. (2019), Pfeiffer et al. (2021), and the parallel one of He et al. (2022). They
// differ in where they sit and in what they read; names and arithmetic are those of AdapterHub's `adapters`.
#pragma once

#include <hone/nn/init.hpp>
#include <hone/ops/bottleneck.hpp>
#include <hone/peft/lora.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// What to attach; names of BnConfig.
struct Bottleneck {
  static constexpr std::string_view method = "bottleneck";

  double reduction_factor = 16;  ///< hidden_size / size of the bottleneck ...
  std::int64_t size = 0;         ///< ... unless this says the size
  Activation non_linearity = Activation::relu;
  bool mh_adapter = false;         ///< one after attention
  bool output_adapter = true;      ///< one after the feed-forward
  bool original_ln_before = true;  ///< reads the sublayer's output added to the residual stream, not the output alone
  bool is_parallel = false;        ///< reads the residual stream before the sublayer
  double scaling = 1;
  std::uint64_t seed = 42;

  /// After attention and after the feed-forward: y += f(y).
  static Bottleneck houlsby() {
    return {.non_linearity = Activation::swish, .mh_adapter = true, .original_ln_before = false};
  }
  /// After the feed-forward: y += f(stream + y).
  static Bottleneck pfeiffer() { return {}; }
  /// Beside the feed-forward: y += 4 f(stream).
  static Bottleneck parallel() {
    return {.reduction_factor = 2, .original_ln_before = false, .is_parallel = true, .scaling = 4};
  }

  /// f(key, value) for every setting, by its key.
  template <class F>
  void visit_settings(F&& f) const {
    f("bottleneck", std::string(is_parallel ? "parallel" : original_ln_before ? "pfeiffer" : "houlsby"));
    if (size > 0)
      f("bottleneck_size", size);
    else
      f("reduction_factor", reduction_factor);
    f("non_linearity", std::string(name_of(non_linearity)));
    f("scaling", scaling);
  }

  std::int64_t bottleneck_size(std::int64_t hidden) const {
    if (size > 0) return size;
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(hidden) / reduction_factor));
  }
  void validate() const {
    check(size >= 0 && size <= 1 << 20, "[bottleneck] size {} must lie between 1 and 1048576", size);
    check(std::isfinite(reduction_factor) && reduction_factor >= 1e-6,
          "[bottleneck] reduction_factor {} must be a number of at least 0.000001", reduction_factor);
    check(std::isfinite(scaling), "[bottleneck] scaling must be a finite number");
    check(mh_adapter || output_adapter, "[bottleneck] neither mh_adapter nor output_adapter is set");
  }
};

template <class T, Device D>
class BottleneckBypass {
 public:
  using A = Accumulator<T>;

  /// down is drawn as a linear of torch is (uniform, bound 1 / sqrt(C)); up and the biases are zero, so that the
  /// adapter begins as the identity.
  BottleneckBypass(const Bottleneck& config, const D& device, std::int64_t hidden, const std::string& path)
      : config_(config) {
    const std::int64_t size = config.bottleneck_size(hidden);
    const auto make = [&](const Shape& shape, const char* name) {
      auto weight = Tensor<A, D>::empty(device, shape, {Category::weights, name});
      fill(weight, A{0});
      make_trainable(weight);
      return weight;
    };
    weights_ = {make({size, hidden}, "adapter_down"), make({size}, "adapter_down"), make({hidden, size}, "adapter_up"),
                make({hidden}, "adapter_up")};
    fill_uniform(weights_.down, 1.0 / std::sqrt(static_cast<double>(hidden)), config.seed, stream_of(path));
  }

  void apply(const SublayerSite<T, D>& at) const {
    if (config_.is_parallel) return add(at.stream, at.y);
    if (config_.original_ln_before) return add(residual_add(at.stream, at.y), at.y);
    const Tensor<T, D> x = at.y;
    at.y = duplicate(x);
    add(x, at.y);
  }
  BypassKind kind() const {
    if (config_.is_parallel) return {"s (f(x A + a) B + b)", Form::parallel, Composition::add};
    return {"f(h A + a) B + b", Form::sequential, Composition::add};
  }
  void visit(WeightVisitor<D> visitor) {
    visitor("adapter_down.0.weight", &weights_.down);
    visitor("adapter_down.0.bias", &weights_.down_bias);
    visitor("adapter_up.weight", &weights_.up);
    visitor("adapter_up.bias", &weights_.up_bias);
  }

  const Bottleneck& config() const { return config_; }

 private:
  void add(const Tensor<T, D>& x, Tensor<T, D>& y) const {
    add_bottleneck(x, weights_, config_.non_linearity, config_.scaling, y);
  }

  Bottleneck config_;
  BottleneckWeights<A, D> weights_;
};

/// Freezes the base and inserts an adapter at every sublayer the config names. Returns their paths.
template <class Model>
std::vector<std::string> attach(Model& model, const Bottleneck& config) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  config.validate();
  const std::int64_t size = config.bottleneck_size(model.config().hidden_size);
  check(size <= std::int64_t{1} << 20, "[bottleneck] its size would be {}; at most 1,048,576 are supported", size);
  std::vector<std::string> paths;
  model.set_base_trainable(false);
  model.visit_sublayers([&](const std::string& path, Insertion insertion, auto& bypasses) {
    if (!(insertion == Insertion::attention ? config.mh_adapter : config.output_adapter)) return;
    bypasses.emplace_back(BottleneckBypass<T, D>(config, model.device(), model.config().hidden_size, path));
    paths.push_back(path);
  });
  return paths;
}

}  // namespace hone
