// Prefix tuning (Li & Liang, 2021): trained keys and values before those of every document, in every layer; either
// themselves, or made by a small MLP from a trained embedding (reparametrisation).
#pragma once

#include <hone/nn/bypass.hpp>
#include <hone/nn/init.hpp>
#include <hone/ops/activation.hpp>
#include <hone/ops/linear.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace hone {

/// What to attach; names of PEFT's PrefixTuningConfig.
struct PrefixTuning {
  static constexpr std::string_view method = "prefix";

  std::int64_t num_virtual_tokens = 20;
  bool prefix_projection = false;        ///< rows = tanh(E W1^T + b1) W2^T + b2
  std::int64_t encoder_hidden_size = 0;  ///< of that MLP; 0: as wide as the keys
  std::uint64_t seed = 42;

  /// f(key, value) for every setting, by its key.
  template <class F>
  void visit_settings(F&& f) const {
    f("num_virtual_tokens", num_virtual_tokens);
    f("prefix_projection", prefix_projection);
    if (prefix_projection) f("encoder_hidden_size", encoder_hidden_size);
  }

  void validate() const {
    check(num_virtual_tokens >= 1 && num_virtual_tokens <= 65536,
          "[prefix] num_virtual_tokens {} must lie between 1 and 65536", num_virtual_tokens);
    check(encoder_hidden_size >= 0 && encoder_hidden_size <= 1 << 20,
          "[prefix] encoder_hidden_size {} must lie between 1 and 1048576", encoder_hidden_size);
  }
};

template <class T, Device D>
class PrefixBypass {
 public:
  using A = Accumulator<T>;

  /// Keys and values of `layers` layers, `width` = kv_heads * head_dim wide, drawn as PEFT's: embeddings standard
  /// normal, linears uniform with bound 1 / sqrt(in).
  PrefixBypass(const PrefixTuning& config, const D& device, std::int64_t layers, std::int64_t width) : config_(config) {
    const std::int64_t tokens = config.num_virtual_tokens, wide = layers * 2 * width;
    const auto make = [&](const Shape& shape) {
      auto weight = Tensor<A, D>::empty(device, shape, {Category::weights, "prefix"});
      make_trainable(weight);
      return weight;
    };
    const auto drawn = [&](const Shape& shape, std::int64_t in, const char* name) {
      auto weight = make(shape);
      fill_uniform(weight, 1.0 / std::sqrt(static_cast<double>(in)), config.seed, stream_of(name));
      return weight;
    };
    embedding_ = make({tokens, config.prefix_projection ? width : wide});
    fill_normal(embedding_, 1.0, config.seed, stream_of("prefix.embedding"));
    if (!config.prefix_projection) return;
    const std::int64_t inner = config.encoder_hidden_size > 0 ? config.encoder_hidden_size : width;
    first_ = drawn({inner, width}, width, "prefix.transform.0.weight");
    first_bias_ = drawn({inner}, width, "prefix.transform.0.bias");
    second_ = drawn({wide, inner}, inner, "prefix.transform.2.weight");
    second_bias_ = drawn({wide}, inner, "prefix.transform.2.bias");
  }

  void apply(const VirtualTokensSite<T, D>& at) const { at.rows = rows(); }
  BypassKind kind() const {
    return {config_.prefix_projection ? "tanh(E W1 + b1) W2 + b2" : "(K, V)", Form::parallel, Composition::concatenate};
  }
  void visit(WeightVisitor<D> visitor) {
    if (!config_.prefix_projection) return visitor("prompt_embeddings", &embedding_);
    visitor("prompt_encoder.embedding.weight", &embedding_);
    visitor("prompt_encoder.transform.0.weight", &first_);
    visitor("prompt_encoder.transform.0.bias", &first_bias_);
    visitor("prompt_encoder.transform.2.weight", &second_);
    visitor("prompt_encoder.transform.2.bias", &second_bias_);
  }

  const PrefixTuning& config() const { return config_; }
  /// (P, layers * 2 * width): K then V, by layer.
  Tensor<A, D> rows() const {
    if (!config_.prefix_projection) return embedding_;
    return linear(activate(linear(embedding_, first_, first_bias_), Activation::tanh), second_, second_bias_);
  }

 private:
  PrefixTuning config_;
  Tensor<A, D> embedding_, first_, first_bias_, second_, second_bias_;
};

/// Freezes the base and puts a prefix before every document.
template <class Model>
void attach(Model& model, const PrefixTuning& config) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  config.validate();
  model.set_base_trainable(false);
  const auto& shape = model.config();
  model.insert_virtual_tokens(
      Insertion::keys_values, config.num_virtual_tokens,
      BypassAt<VirtualTokensSite<T, D>>(PrefixBypass<T, D>(config, model.device(), shape.num_hidden_layers,
                                                           shape.num_key_value_heads * shape.head_dim)));
}

}  // namespace hone
