// Rules of thumb for the memory of a training run, as their authors state them, to stand beside the exact plan. Each
// says where it comes from, which part of the memory it speaks of, and what it leaves out.
#pragma once

#include <hone/plan/plan.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace hone {

/// What a rule's bytes are to be held against.
enum class RulePart : std::uint8_t {
  weights,
  states,       ///< weights, gradients and optimizer state
  activations,  ///< what the step keeps between forward and backward, at its highest
  total,        ///< the peak
};

constexpr std::string_view name_of(RulePart part) {
  constexpr std::array<std::string_view, 4> names = {"weights", "states", "activations", "total"};
  return names[static_cast<std::size_t>(part)];
}

/// The exact figure of that part.
inline std::int64_t exact_bytes(const Plan& plan, RulePart part) {
  switch (part) {
    case RulePart::weights:
      return plan.resident[index_of(Category::weights)];
    case RulePart::states:
      return device_bytes(plan.resident);
    case RulePart::activations:
      return plan.highest[index_of(Category::activations)];
    case RulePart::total:
      break;
  }
  return plan.peak_bytes;
}

/// Bits a weight takes in NF4 with blocks of 64 (QLoRA, arXiv 2305.14314): 4, and one fp32 scale a block; with double
/// quantisation one scale of 8 bits a block, and one fp32 scale for 256 of those.
constexpr double nf4_bits(bool double_quantisation) {
  return 4.0 + (double_quantisation ? 8.0 / 64 + 32.0 / (64 * 256) : 32.0 / 64);
}

/// Bytes of a model whose block matrices are in NF4 and whose embeddings, head, norms and biases are in 16 bit.
inline std::int64_t nf4_weight_bytes(const LlamaConfig& model, bool double_quantisation) {
  const std::int64_t heads = model.num_attention_heads * model.head_dim;
  const std::int64_t kv = model.num_key_value_heads * model.head_dim;
  const std::int64_t layer = model.hidden_size * (2 * heads + 2 * kv + 3 * model.intermediate_size);
  const std::int64_t quantised = model.num_hidden_layers * layer;
  const auto quantised_bytes =
      static_cast<std::int64_t>(static_cast<double>(quantised) * nf4_bits(double_quantisation) / 8);
  return quantised_bytes + 2 * (parameter_count(model) - quantised);
}

namespace rules {

/// Tokens of a batch (s x b) and widths of the model, in floating point as the formulas are.
struct Sizes {
  explicit Sizes(const PlanConfig& config)
      : tokens(static_cast<double>(config.batch_size) * static_cast<double>(config.max_length)),
        length(static_cast<double>(config.max_length)),
        hidden(static_cast<double>(config.model.hidden_size)),
        intermediate(static_cast<double>(config.model.intermediate_size)),
        layers(static_cast<double>(config.model.num_hidden_layers)),
        heads(static_cast<double>(config.model.num_attention_heads)),
        kv(static_cast<double>(config.model.num_key_value_heads) * static_cast<double>(config.model.head_dim)),
        vocab(static_cast<double>(config.model.vocab_size)) {}

  double tokens, length, hidden, intermediate, layers, heads, kv, vocab;
};

/// Formulas of squares can pass 64 bits where the plan itself does not.
inline std::int64_t whole(double bytes) { return static_cast<std::int64_t>(std::min(bytes, 9e18)); }
/// LoRA, or another method that leaves the base as it is: the formulas know no other.
inline bool lora(const PlanConfig& config) { return !std::holds_alternative<FullTuning>(config.step.method); }
inline std::int64_t element_bytes(const PlanConfig& config) { return config.step.policy.compute == DType::f32 ? 4 : 2; }

inline std::int64_t fp32_weights(const PlanConfig&, const Plan& plan) { return 4 * plan.parameters; }
inline std::int64_t zero_paper(const PlanConfig&, const Plan& plan) { return 16 * plan.parameters; }
inline std::int64_t one_one_six(const PlanConfig&, const Plan& plan) { return (1 + 1 + 6) * 4 * plan.parameters; }
inline std::int64_t accelerate(const PlanConfig& config, const Plan& plan) {
  return 4 * element_bytes(config) * plan.parameters;
}
inline std::int64_t deepspeed_zero2(const PlanConfig&, const Plan& plan) { return (4 + 16) * plan.parameters; }
inline std::int64_t deepspeed_zero3(const PlanConfig& config, const Plan& plan) {
  const LlamaConfig& model = config.model;
  const std::int64_t largest = model.hidden_size * std::max(model.vocab_size, model.intermediate_size);
  return 4 * largest + 18 * plan.parameters;
}
/// s b h (34 + 5 a s / h) a layer, 34 s b h with selective recompute, 2 s b h with full.
inline std::int64_t korthikanti(const PlanConfig& config, const Plan&) {
  const Sizes z(config);
  double bytes = 34 + 5 * z.heads * z.length / z.hidden;
  if (config.step.recompute == Recompute::selective) bytes = 34;
  if (config.step.recompute == Recompute::full) bytes = 2;
  return whole(z.layers * z.tokens * z.hidden * bytes);
}
inline std::int64_t megatron_states(const PlanConfig&, const Plan& plan) { return 18 * plan.parameters; }
/// s b h (18 + 4 f / h) a layer, 8 s b + s b h of the embedding, 4 s b h (1 + V / h) of head and loss.
inline std::int64_t megatron_activations(const PlanConfig& config, const Plan&) {
  const Sizes z(config);
  return whole(z.layers * z.tokens * (18 * z.hidden + 4 * z.intermediate) + z.tokens * (8 + z.hidden) +
               4 * z.tokens * (z.hidden + z.vocab));
}
/// Weights and adapters in 16 bit, AdamW 6 B and gradients 2 B a trained weight (at least 15 % of the weights; with
/// LoRA at most activations or optimizer), activations s b (h + 2 kv + 2 + 2 f) x 2 B x 1.25 for each layer or, with
/// recompute, for two of them (LoRA: one), and 1.4 GiB.
inline std::int64_t unsloth(const PlanConfig& config, const Plan& plan) {
  const Sizes z(config);
  const double weights = 2.0 * static_cast<double>(plan.parameters);
  const auto trained = static_cast<double>(plan.trainable_parameters);
  const double layers = config.step.recompute == Recompute::none ? z.layers : lora(config) ? 1.0 : 2.0;
  const double activations = layers * z.tokens * (z.hidden + 2 * z.kv + 2 + 2 * z.intermediate) * 2 * 1.25;
  const double optimizer = 6 * trained;
  const double floor = lora(config) ? std::min(0.15 * weights, std::max(activations, optimizer)) : 0.15 * weights;
  return whole(weights + 2.0 * static_cast<double>(plan.adapter_parameters) + optimizer + std::max(2 * trained, floor) +
               activations + 1.4 * 1024 * 1024 * 1024);
}
/// 18, 8 or 2 GB a billion parameters: full in mixed precision, full in 16 bit, LoRA. fp32 has no row.
inline std::int64_t llama_factory(const PlanConfig& config, const Plan& plan) {
  if (lora(config)) return 2 * plan.parameters;
  return (config.step.policy.update == WeightUpdate::stochastic_rounding ? 8 : 18) * plan.parameters;
}

inline bool always(const PlanConfig&) { return true; }
inline bool full_tuning(const PlanConfig& config) { return !lora(config); }
inline bool sixteen_bit(const PlanConfig& config) { return config.step.policy.compute != DType::f32; }

}  // namespace rules

/// A rule and where it stands.
struct Rule {
  std::string_view name;
  std::string_view source;
  RulePart part;
  std::int64_t (*bytes)(const PlanConfig&, const Plan&);
  bool (*applies)(const PlanConfig&);  ///< whether its author means it for such a run
  std::string_view leaves_out;         ///< one sentence
};

inline constexpr auto rules_of_thumb = std::to_array<Rule>({
    {"parameters x 4 bytes", "fp32 weights", RulePart::weights, rules::fp32_weights, rules::always,
     "Weights in fp32 and nothing else: no gradients, optimizer, activations or logits."},
    {"parameters x 16 bytes", "ZeRO, arXiv 1910.02054, section 3.1", RulePart::states, rules::zero_paper, rules::always,
     "Mixed-precision Adam on every weight with 16-bit gradients; fp32 gradients would make it 18. No activations."},
    {"1:1:6", "a rule of practitioners: weights, gradients and the rest as 1 to 1 to 6, in fp32", RulePart::total,
     rules::one_one_six, rules::always,
     "32 bytes a parameter; Adam in fp32 holds 16 and activations depend on batch and length, not on parameters."},
    {"accelerate estimate-memory, x 4", "https://huggingface.co/docs/accelerate/usage_guides/model_size_estimator",
     RulePart::states, rules::accelerate, rules::full_tuning,
     "Four times the loaded weights for Adam: no activations, logits or workspace, and 16-bit moments in 16 bit."},
    {"DeepSpeed ZeRO-2, 1 card", "https://deepspeed.readthedocs.io/en/latest/memory.html", RulePart::states,
     rules::deepspeed_zero2, rules::full_tuning,
     "4P + 16P / N on one card; its authors leave the activations open, and PEFT and quantisation are not in it."},
    {"DeepSpeed ZeRO-3, 1 card", "https://deepspeed.readthedocs.io/en/latest/memory.html", RulePart::states,
     rules::deepspeed_zero3, rules::full_tuning,
     "4 x the largest layer + 18P / N on one card; activations, PEFT and quantisation are not in it."},
    {"Korthikanti et al.", "https://arxiv.org/abs/2205.05198", RulePart::activations, rules::korthikanti, rules::always,
     "A GPT block: GELU, dropout masks and stored attention scores; no SwiGLU, grouped heads, flash attention or "
     "logits."},
    {"Megatron-LM, states", "Megatron-LM, megatron/training/theoretical_memory_usage.py", RulePart::states,
     rules::megatron_states, rules::full_tuning,
     "18 bytes a parameter without the distributed optimizer; no PEFT, quantisation or workspace."},
    {"Megatron-LM, activations", "Megatron-LM, megatron/training/theoretical_memory_usage.py", RulePart::activations,
     rules::megatron_activations, rules::always,
     "Written for selective recompute and two-matrix MLPs; logits in fp32, whole."},
    {"unsloth", "unsloth, studio/backend/utils/hardware/VRAM_ESTIMATION.md", RulePart::total, rules::unsloth,
     rules::sixteen_bit,
     "No logits or loss at all, no evaluation or generation; constants fitted on one 1B model and two cards."},
    {"LLaMA-Factory's x", "https://github.com/hiyouga/LLaMA-Factory, README, hardware requirement", RulePart::total,
     rules::llama_factory, rules::sixteen_bit,
     "Parameters times a constant, marked as estimated: batch, length, rank and vocabulary are not in it."},
});

}  // namespace hone
