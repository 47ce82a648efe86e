// What every showing of a plan says in the same words: the run's settings, its target, its peak.
#pragma once

#include <hone/core/human.hpp>
#include <hone/plan/plan.hpp>
#include <hone/plan/settings.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace hone {

/// Bytes that a driver takes of the device beside the run: measured, or assumed and then said to be.
struct Driver {
  std::int64_t bytes = 0;
  std::string words = {};  ///< where the number is from
};

/// A canonical key of a training run with the value a plan was made for.
struct RunSetting {
  using Value = std::variant<std::int64_t, double, bool, std::string, std::vector<std::string>>;
  std::string_view key;
  Value value;
};

namespace detail {

inline std::string comma_list(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ",") + item;
  return out;
}

/// "4,096", or "128 to 4,096" where real rows make batches of several sizes.
inline std::string batch_range(const std::set<std::int64_t>& tokens) {
  if (tokens.empty()) return "no";
  const std::string largest = with_commas(*tokens.rbegin());
  return tokens.size() == 1 ? largest : with_commas(*tokens.begin()) + " to " + largest;
}

}  // namespace detail

namespace detail {

/// What a run says of LoRA beyond its usual settings, where it says anything.
inline void add_lora_settings(const LoRA& lora, std::vector<RunSetting>& out) {
  if (lora.use_dora) out.push_back({"use_dora", true});
  const auto add_list = [&](const char* key, const auto& values, const auto& text) {
    std::vector<std::string> items;
    for (const auto& value : values) items.push_back(text(value));
    if (!items.empty()) out.push_back({key, items});
  };
  const auto itself = [](const auto& value) { return fmt::format("{}", value); };
  const auto pair = [](const auto& pattern) { return fmt::format("{}={}", pattern.first, pattern.second); };
  add_list("exclude_modules", lora.exclude_modules, itself);
  add_list("rank_pattern", lora.rank_pattern, pair);
  add_list("alpha_pattern", lora.alpha_pattern, pair);
  add_list("layers_to_transform", lora.layers_to_transform, itself);
  add_list("layers_pattern", lora.layers_pattern, itself);
  add_list("modules_to_save", lora.modules_to_save, itself);
}

}  // namespace detail

/// The optimizer as its key names it.
inline std::string_view optimizer_name(const StepConfig& step) {
  const auto* adamw = std::get_if<AdamWOptions>(&step.optimizer);
  return adamw != nullptr ? adamw_name(adamw->moments) : "sgd";
}

namespace detail {
/// f(key, value) for every setting of a method that is attached as a whole; LoRA's are listed apart.
template <class F>
void visit_settings(const Method& method, F&& f) {
  std::visit(
      [&](const auto& one) {
        if constexpr (requires { one.config.visit_settings(f); }) one.config.visit_settings(f);
      },
      method);
}
}  // namespace detail

/// All settings that memory and work depend on, keyed as the flags of training are.
inline std::vector<RunSetting> run_settings(const PlanConfig& config) {
  std::vector<RunSetting> out = {{"method", std::string(name_of(config.step.method))}};
  if (const auto* tuning = std::get_if<LoraTuning>(&config.step.method)) {
    out.push_back({"lora_r", tuning->lora.r});
    out.push_back({"lora_alpha", tuning->lora.alpha});
    out.push_back({"lora_dropout", tuning->lora.dropout});
    out.push_back({"use_rslora", tuning->lora.use_rslora});
    out.push_back({"target_modules", tuning->target_modules});
    detail::add_lora_settings(tuning->lora, out);
  }
  detail::visit_settings(config.step.method, [&](std::string_view key, const auto& value) {
    out.push_back({key, value});
  });
  const auto* sgd = std::get_if<SgdOptions>(&config.step.optimizer);
  if (config.model.quantization) {
    const bool four = config.model.quantization->type == QuantType::nf4;
    out.push_back({four ? "load_in_4bit" : "load_in_8bit", true});
    if (four) out.push_back({"bnb_4bit_use_double_quant", config.model.quantization->double_quant});
    if (!config.model.quantization->skip_modules.empty())
      out.push_back({"llm_int8_skip_modules", config.model.quantization->skip_modules});
  }
  out.push_back({"dtype", std::string(config.step.policy.name)});
  out.push_back({"optimizer", std::string(optimizer_name(config.step))});
  if (sgd != nullptr) out.push_back({"momentum", sgd->momentum});
  out.push_back({"batch_size", config.batch_size});
  out.push_back({"max_length", config.max_length});
  out.push_back({"gradient_accumulation_steps", config.gradient_accumulation_steps});
  out.push_back({"gradient_checkpointing", std::string(name_of(config.step.recompute))});
  if (config.step.offload.any()) out.push_back({"offload", names_of(config.step.offload)});
  out.push_back({"loss_chunk", config.step.loss_chunk});
  out.push_back({"max_new_tokens", config.max_new_tokens});
  return out;
}

/// The value as its flag takes it.
inline std::string text_of(const RunSetting::Value& value) {
  return std::visit(
      []<class V>(const V& v) -> std::string {
        if constexpr (std::is_same_v<V, std::vector<std::string>>)
          return detail::comma_list(v);
        else if constexpr (std::is_same_v<V, bool>)
          return v ? "true" : "false";
        else
          return fmt::format("{}", v);
      },
      value);
}

/// "LoRA r 16, alpha 32 on all-linear; adamw".
inline std::string method_words(const StepConfig& step) {
  const std::string optimizer(optimizer_name(step));
  const auto* tuning = std::get_if<LoraTuning>(&step.method);
  if (std::holds_alternative<FullTuning>(step.method)) return "all weights; " + optimizer;
  if (tuning == nullptr) {
    std::string out(name_of(step.method));
    detail::visit_settings(step.method, [&](std::string_view key, const auto& value) {
      out += fmt::format(", {} {}", key, text_of(RunSetting::Value(value)));
    });
    return out + "; " + optimizer;
  }
  return fmt::format("{} r {}, alpha {} on {}; {}", tuning->lora.use_dora ? "DoRA" : "LoRA", tuning->lora.r,
                     tuning->lora.alpha, detail::comma_list(tuning->target_modules), optimizer);
}

/// "mixed: bf16 weights and activations, fp32 gradients, fp32 master weights".
inline std::string dtype_words(const Policy& policy) {
  const std::string_view compute = policy.compute == DType::bf16 ? "bf16" : "fp32";
  std::string out = fmt::format("{}: {} weights and activations", policy.name, compute);
  if (policy.gradients == GradientPrecision::wide) out += ", fp32 gradients";
  if (policy.update == WeightUpdate::master) out += ", fp32 master weights";
  if (policy.update == WeightUpdate::stochastic_rounding) out += ", stochastic rounding";
  return out;
}

/// What of the run is in the host's memory; empty where nothing was asked for.
inline std::string offload_words(const Offload& offload, const Target& target) {
  if (!offload.any()) return {};
  if (!is_card(target)) return "nothing moves: the processor's memory is the host's";
  const std::string both = offload.optimizer && offload.activations ? ", " : "";
  return (offload.optimizer ? "optimizer states" : "") + both + (offload.activations ? "layer inputs" : "") +
         " in the host's memory, pinned";
}

/// "4 x 1,024 tokens, 2 batches a step", or the sizes of the batches that real rows make.
inline std::string batch_words(const PlanConfig& config) {
  const std::int64_t batches = config.gradient_accumulation_steps;
  const std::string a_step = fmt::format("{} {} a step", with_commas(batches), batches == 1 ? "batch" : "batches");
  if (!config.batches)
    return fmt::format("{} x {} tokens, {}", with_commas(config.batch_size), with_commas(config.max_length), a_step);
  return fmt::format("{} tokens (of the data's rows, at most {} x {}), {}", detail::batch_range(config.batches->train),
                     with_commas(config.batch_size), with_commas(config.max_length), a_step);
}

/// "cpu, 2 threads, avx2" or "cuda, sm_90".
inline std::string target_words(const Target& target) {
  if (target.kind == DeviceKind::cpu)
    return fmt::format("cpu, {} {}, {}", target.threads, target.threads == 1 ? "thread" : "threads",
                       name_of(target.isa));
  return target.sm > 0 ? fmt::format("{}, sm_{}", name_of(target.kind), target.sm) : std::string(name_of(target.kind));
}

/// The phases of the training run and generation, without those that never happen.
inline std::vector<const Phase*> shown_phases(const Plan& plan) {
  std::vector<const Phase*> out;
  for (const Phase& phase : plan.phases)
    if (!phase.empty()) out.push_back(&phase);
  return out;
}

/// The phase of the training run in which plan.peak_bytes are reached. Generation is a run of its own.
inline const Phase& peak_phase(const Plan& plan) {
  for (const Phase* phase : shown_phases(plan))
    if (phase->name != "generate" && phase->peak_bytes == plan.peak_bytes) return *phase;
  fail("[plan] no phase reaches the peak of {} bytes", plan.peak_bytes);
}

/// The `count` largest buffers at the peak of a phase, and how many the rest are and what they hold together.
struct LargestBuffers {
  std::vector<Buffer> largest = {};  ///< of the device
  std::int64_t others = 0;
  std::int64_t other_bytes = 0;
};
inline LargestBuffers largest_buffers(const Phase& phase, std::size_t count) {
  LargestBuffers out;
  for (const Buffer& buffer : phase.buffers) {
    if (buffer.category == Category::host) continue;
    if (out.largest.size() < count) {
      out.largest.push_back(buffer);
    } else {
      ++out.others;
      out.other_bytes += buffer.bytes;
    }
  }
  return out;
}

/// What part of `whole` the `part` is; 0 of nothing.
inline double share_of(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

/// By how much the slab of the temporaries exceeds what lives in it at the worst moment: 0.01 is one per cent.
inline double packing_overhead(const Plan& plan) {
  std::int64_t live = 0;
  for (const auto* packings : {&plan.train, &plan.evaluate})
    for (const auto& [tokens, packing] : *packings) live = std::max(live, packing.live_peak);
  return live == 0 ? 0 : static_cast<double>(plan.slab_bytes()) / static_cast<double>(live) - 1;
}

/// FLOPs for every byte that a step moves; 0 when it moves none.
inline double flops_per_byte(const Meta::Work& work) {
  const std::int64_t moved = work.bytes_read + work.bytes_written;
  return moved == 0 ? 0 : work.flops / static_cast<double>(moved);
}

}  // namespace hone
