// What one model of the Llama family looks like: numbers only, so that the engine needs no JSON. Files are read by
// models/llama_config_file.hpp. Names are those of Hugging Face's config.json.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/core/error.hpp>
#include <hone/quant/quantisation.hpp>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <numbers>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// Llama 3.1's stretching of the rotary frequencies to a longer context.
struct Llama3RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_position_embeddings = 8192;

  friend bool operator==(const Llama3RopeScaling&, const Llama3RopeScaling&) = default;
};

struct LlamaConfig {
  std::string model_type = "llama";  // llama, mistral, qwen2, qwen3
  std::vector<std::string> architectures = {"LlamaForCausalLM"};

  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;  // divides num_attention_heads
  std::int64_t head_dim = 0;             // even; not always hidden_size / num_attention_heads
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  std::optional<Llama3RopeScaling> rope_scaling;
  bool tie_word_embeddings = false;
  bool attention_bias = false;                 // a bias on o_proj
  bool qkv_bias = false;                       // a bias on q_proj, k_proj and v_proj
  bool qk_norm = false;                        // RMSNorm of every head of q and k before RoPE
  std::optional<std::int64_t> sliding_window;  // a query sees itself and the sliding_window - 1 keys before it
  std::int64_t max_window_layers = 0;          // the first layers, which see everything in spite of sliding_window

  std::optional<std::int64_t> bos_token_id;
  std::vector<std::int64_t> eos_token_ids;
  std::optional<std::int64_t> pad_token_id;
  std::optional<DType> torch_dtype;          // what the weights were saved in
  std::optional<Quantisation> quantization;  // of the linears in the blocks (quantization_config)

  /// Sliding window of a layer; 0 when it sees all earlier tokens.
  std::int64_t window_of_layer(std::int64_t layer) const {
    return layer < max_window_layers ? 0 : sliding_window.value_or(0);
  }

  friend bool operator==(const LlamaConfig&, const LlamaConfig&) = default;
};

/// Number of weights, biases included; a tied output head counts once. Throws when it does not fit in 64 bits.
inline std::int64_t parameter_count(const LlamaConfig& config) {
  const auto mul = [](std::int64_t a, std::int64_t b) { return checked_mul(a, b, "[llama config] parameter count"); };
  const auto sum = [](std::initializer_list<std::int64_t> terms) {
    std::int64_t out = 0;
    for (const auto term : terms) out = checked_add(out, term, "[llama config] parameter count");
    return out;
  };
  const auto hidden = config.hidden_size;
  const auto q = mul(config.num_attention_heads, config.head_dim);
  const auto kv = mul(config.num_key_value_heads, config.head_dim);
  const auto qkv = sum({q, kv, kv});
  const auto attention = sum({mul(qkv, hidden), config.qkv_bias ? qkv : 0, mul(q, hidden),
                              config.attention_bias ? hidden : 0, config.qk_norm ? mul(2, config.head_dim) : 0});
  const auto mlp = mul(3, mul(hidden, config.intermediate_size));
  const auto layer = sum({attention, mlp, mul(2, hidden)});
  const auto table = mul(config.vocab_size, hidden);
  return sum({table, mul(config.num_hidden_layers, layer), hidden, config.tie_word_embeddings ? 0 : table});
}

/// Throws an Error that names the first number no model can have; `origin` opens it.
inline void validate(const LlamaConfig& config, std::string_view origin = "llama config") {
  constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();  // token ids and extents of one axis
  const auto in_range = [&](std::string_view key, std::int64_t value, std::int64_t min, std::int64_t max) {
    check(value >= min && value <= max, "[{}] {} is {}; {} to {} was expected", origin, key, value, min, max);
  };
  const auto positive = [&](std::string_view key, double value) {
    check(std::isfinite(value) && value > 0, "[{}] {} is {}; a positive number was expected", origin, key, value);
  };
  in_range("hidden_size", config.hidden_size, 1, largest);
  in_range("intermediate_size", config.intermediate_size, 1, largest);
  in_range("num_hidden_layers", config.num_hidden_layers, 1, 65536);
  in_range("num_attention_heads", config.num_attention_heads, 1, largest);
  in_range("num_key_value_heads", config.num_key_value_heads, 1, config.num_attention_heads);
  check(config.num_attention_heads % config.num_key_value_heads == 0,
        "[{}] num_attention_heads ({}) must be a multiple of num_key_value_heads ({})", origin,
        config.num_attention_heads, config.num_key_value_heads);
  in_range("head_dim", config.head_dim, 2, 65536);
  check(config.head_dim % 2 == 0, "[{}] head_dim is {}; RoPE rotates pairs, so it must be even", origin,
        config.head_dim);
  in_range("vocab_size", config.vocab_size, 1, largest);
  in_range("max_position_embeddings", config.max_position_embeddings, 1, largest);
  in_range("max_window_layers", config.max_window_layers, 0, largest);
  if (config.sliding_window) in_range("sliding_window", *config.sliding_window, 1, largest);
  positive("rms_norm_eps", config.rms_norm_eps);
  positive("rope_theta", config.rope_theta);
  if (const auto& scaling = config.rope_scaling) {
    positive("rope_scaling.factor", scaling->factor);
    positive("rope_scaling.low_freq_factor", scaling->low_freq_factor);
    check(std::isfinite(scaling->high_freq_factor) && scaling->high_freq_factor > scaling->low_freq_factor,
          "[{}] rope_scaling.high_freq_factor ({}) must be above low_freq_factor ({})", origin,
          scaling->high_freq_factor, scaling->low_freq_factor);
    in_range("rope_scaling.original_max_position_embeddings", scaling->original_max_position_embeddings, 1, largest);
  }
  // The widest count anybody forms is bytes of fp64 weights, gradients and two moments.
  checked_mul(parameter_count(config), 32, "[llama config] bytes of a training state");
}

/// Angle per position of each rotated pair, (head_dim / 2): f_i = theta^(-2i / head_dim), in fp32 step by step as
/// transformers computes them (modeling_rope_utils). With llama3 scaling and w = 2 pi / f, N the original context:
/// w < N / high: f stays; w > N / low: f / factor; between: s = (N / w - low) / (high - low), ((1 - s) f) / factor + s
/// f.
inline std::vector<float> inverse_frequencies(const LlamaConfig& config) {
  const auto dim = static_cast<float>(config.head_dim);
  std::vector<float> out;
  for (std::int64_t i = 0; i < config.head_dim; i += 2)
    out.push_back(1.0f / std::pow(static_cast<float>(config.rope_theta), static_cast<float>(i) / dim));
  if (!config.rope_scaling) return out;

  const auto& scaling = *config.rope_scaling;
  const auto context = static_cast<double>(scaling.original_max_position_embeddings);
  const auto longest = static_cast<float>(context / scaling.low_freq_factor);
  const auto shortest = static_cast<float>(context / scaling.high_freq_factor);
  const auto factor = static_cast<float>(scaling.factor);
  const auto low = static_cast<float>(scaling.low_freq_factor);
  const auto width = static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
  for (auto& frequency : out) {
    // PyTorch divides a number by a tensor as number * (1 / tensor); so does this, for the same last bit.
    const float wavelength = 1.0f / frequency * static_cast<float>(2.0 * std::numbers::pi);
    if (wavelength > longest) {
      frequency /= factor;
    } else if (wavelength >= shortest) {
      const float smooth = (1.0f / wavelength * static_cast<float>(context) - low) / width;
      frequency = (1.0f - smooth) * frequency / factor + smooth * frequency;
    }
  }
  return out;
}

}  // namespace hone
