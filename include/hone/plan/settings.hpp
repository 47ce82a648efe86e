// The settings of a run that its memory depends on, as values: what they are called, what they say, how one plan takes
// them from another. Searches walk this table.
#pragma once

#include <hone/plan/plan_config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace hone {

inline std::string_view name_of(Recompute recompute) {
  constexpr std::array<std::string_view, 3> names = {"none", "selective", "full"};
  return names[static_cast<std::size_t>(recompute)];
}

/// The rank of LoRA, 0 for another method.
inline std::int64_t lora_r(const PlanConfig& config) {
  const auto* lora = std::get_if<LoraTuning>(&config.step.method);
  return lora == nullptr ? 0 : lora->lora.r;
}
inline void set_lora_r(PlanConfig& config, std::int64_t r) {
  if (auto* lora = std::get_if<LoraTuning>(&config.step.method)) lora->lora.r = r;
}

/// "none", or the list that the key takes.
inline std::string offload_text(const Offload& offload) {
  if (!offload.any()) return "none";
  return offload.optimizer && offload.activations ? "optimizer,activations" : names_of(offload).front();
}

/// One canonical key of a training run.
struct Setting {
  std::string_view key;
  bool changes_result;  ///< what is learned depends on it, not only the time it takes
  std::string (*text)(const PlanConfig&);
  void (*copy)(const PlanConfig& from, PlanConfig& to);
};

/// Whether the linears are quantised as load_in_4bit asks; no text where they are so in another way.
inline std::string four_bit_text(const PlanConfig& config) {
  if (!config.model.quantization) return "false";
  return config.model.quantization->type == QuantType::nf4 ? "true" : "";
}

inline constexpr std::array<Setting, 9> memory_settings = {{
    {"method", true, [](const PlanConfig& c) { return std::string(name_of(c.step.method)); },
     [](const PlanConfig& from, PlanConfig& to) { to.step.method = from.step.method; }},
    {"load_in_4bit", true, &four_bit_text,
     [](const PlanConfig& from, PlanConfig& to) { to.model.quantization = from.model.quantization; }},
    {"dtype", true, [](const PlanConfig& c) { return std::string(c.step.policy.name); },
     [](const PlanConfig& from, PlanConfig& to) { to.step.policy = from.step.policy; }},
    {"lora_r", true, [](const PlanConfig& c) { return lora_r(c) > 0 ? std::to_string(lora_r(c)) : std::string(); },
     [](const PlanConfig& from, PlanConfig& to) {
       if (lora_r(from) > 0) set_lora_r(to, lora_r(from));
     }},
    {"max_length", true, [](const PlanConfig& c) { return std::to_string(c.max_length); },
     [](const PlanConfig& from, PlanConfig& to) { to.max_length = from.max_length; }},
    {"batch_size", false, [](const PlanConfig& c) { return std::to_string(c.batch_size); },
     [](const PlanConfig& from, PlanConfig& to) {
       to.batch_size = from.batch_size;
       to.gradient_accumulation_steps = from.gradient_accumulation_steps;
     }},
    {"gradient_checkpointing", false, [](const PlanConfig& c) { return std::string(name_of(c.step.recompute)); },
     [](const PlanConfig& from, PlanConfig& to) { to.step.recompute = from.step.recompute; }},
    {"offload", false, [](const PlanConfig& c) { return offload_text(c.step.offload); },
     [](const PlanConfig& from, PlanConfig& to) { to.step.offload = from.step.offload; }},
    {"loss_chunk", false,
     [](const PlanConfig& c) {
       return c.step.loss_chunk == 0 ? std::string("automatic") : std::to_string(c.step.loss_chunk);
     },
     [](const PlanConfig& from, PlanConfig& to) { to.step.loss_chunk = from.step.loss_chunk; }},
}};

/// A setting whose largest fitting value can be asked for.
struct Growable {
  std::string_view key;
  std::int64_t smallest;
  std::int64_t (*largest)(const PlanConfig&);  ///< no run can have more; 0: the method has no such setting
  void (*set)(PlanConfig&, std::int64_t);
};

inline constexpr std::array<Growable, 3> growable_settings = {{
    {"max_length", 2, [](const PlanConfig& c) { return c.model.max_position_embeddings; },
     [](PlanConfig& c, std::int64_t value) { c.max_length = value; }},
    {"batch_size", 1,
     [](const PlanConfig& c) { return std::max<std::int64_t>(1, (std::int64_t{1} << 22) / c.max_length); },
     [](PlanConfig& c, std::int64_t value) { c.batch_size = value; }},
    {"lora_r", 1,
     [](const PlanConfig& c) { return lora_r(c) > 0 ? std::min<std::int64_t>(c.model.hidden_size, 65536) : 0; },
     &set_lora_r},
}};

/// The growable setting of that name, or an Error.
inline const Growable& growable(std::string_view key) {
  for (const Growable& one : growable_settings)
    if (one.key == key) return one;
  fail("maximize: '{}' cannot be maximized; choose max_length, batch_size or lora_r", key);
}

}  // namespace hone
