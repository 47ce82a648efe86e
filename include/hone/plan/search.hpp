// Plans read backwards: from a budget in bytes to the settings that fit into it. Every candidate is planned, none is
// estimated; the peak of an 8B model takes milliseconds.
#pragma once

#include <hone/core/function_ref.hpp>
#include <hone/plan/settings.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

/// The highest live bytes of the run of a configuration, as a search asks for them: hone::peak_bytes for a target.
using PeakOf = FunctionRef<std::int64_t(const PlanConfig&)>;

/// A value and what the run then needs.
struct Sized {
  std::int64_t value = 0, bytes = 0;
};

/// The largest value that fits and the next one, which does not.
struct Bracket {
  std::optional<Sized> fits;      ///< none: not even the smallest value does
  std::optional<Sized> too_much;  ///< none: the most a run can have fits
};

/// Bisection: memory grows with every growable setting. Asks about configurations without `batches`, as fit_into does.
inline Bracket largest_fitting(PlanConfig config, std::int64_t budget, const Growable& setting, PeakOf peak_of) {
  config.batches.reset();
  const std::int64_t limit = setting.largest(config);
  check(limit >= setting.smallest, "{}: method {} has no such setting", setting.key, name_of(config.step.method));
  const auto need = [&](std::int64_t value) {
    setting.set(config, value);
    return Sized{value, peak_of(config)};
  };
  if (const Sized least = need(setting.smallest); least.bytes > budget) return {std::nullopt, least};
  // Doubling finds the size of the answer without planning the limit, which may be absurdly large.
  std::int64_t low = setting.smallest, high = setting.smallest;
  while (high < limit && need(high).bytes <= budget) low = std::exchange(high, std::min(limit, high * 2));
  if (const Sized most = need(high); most.bytes <= budget) return {most, std::nullopt};
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (need(middle).bytes <= budget ? low : high) = middle;
  }
  return {need(low), need(high)};
}

/// What a search gave up: `from` would need `bytes`, all else as found (and as lean as it may be, where the setting
/// changes the result).
struct Trade {
  std::string key, from, to;
  std::int64_t bytes = 0;
};

/// A configuration that fits, or the leanest there is.
struct Fit {
  PlanConfig config;
  std::int64_t bytes = 0;  ///< highest live bytes of its run
  bool fits = false;
  std::vector<Trade> trades = {};
};

/// Canonical keys that a search must leave as they are.
using FixedKeys = std::set<std::string, std::less<>>;

/// What a search may do.
struct SearchLimits {
  FixedKeys fixed = {};
  LoraTuning lora = {{.r = 16, .alpha = 32}};  ///< what full tuning falls back on
  bool offload = false;                        ///< the target has a host whose memory may be used
};

namespace detail {

inline bool may_change(const FixedKeys& fixed, std::string_view key) { return !fixed.contains(key); }

/// From training everything to training an adapter; never the other way.
inline std::vector<Method> methods_to_try(const PlanConfig& wanted, const SearchLimits& limits) {
  std::vector<Method> out = {wanted.step.method};
  if (may_change(limits.fixed, "method") && std::holds_alternative<FullTuning>(wanted.step.method))
    out.push_back(limits.lora);
  return out;
}

/// From the wanted policy to leaner ones.
inline std::vector<Policy> policies_to_try(const PlanConfig& wanted, const FixedKeys& fixed) {
  std::vector<Policy> out;
  for (const Policy& one : {policy::fp32, policy::mixed, policy::bf16})
    if (one.name == wanted.step.policy.name || (!out.empty() && may_change(fixed, "dtype"))) out.push_back(one);
  return out;
}

/// From dense linears to NF4, which adapters can train beside.
inline std::vector<std::optional<Quantisation>> storages_to_try(const PlanConfig& wanted, const Method& method,
                                                                const FixedKeys& fixed) {
  std::vector<std::optional<Quantisation>> out = {wanted.model.quantization};
  const bool adapter = !std::holds_alternative<FullTuning>(method);
  if (adapter && !wanted.model.quantization && may_change(fixed, "load_in_4bit")) out.emplace_back(Quantisation{});
  return out;
}

inline std::vector<std::int64_t> halvings(std::int64_t value, std::int64_t least, bool allowed) {
  std::vector<std::int64_t> out = {value};
  while (allowed && out.back() / 2 >= least) out.push_back(out.back() / 2);
  return out;
}

/// What changes the result, in the order in which it is given up: rank first, then element types, dense linears,
/// method, length.
inline std::vector<PlanConfig> by_preference(const PlanConfig& wanted, const SearchLimits& limits) {
  const FixedKeys& fixed = limits.fixed;
  std::vector<PlanConfig> out;
  PlanConfig one = wanted;
  for (const auto length : halvings(wanted.max_length, 128, may_change(fixed, "max_length")))
    for (const Method& method : methods_to_try(wanted, limits))
      for (const auto& storage : storages_to_try(wanted, method, fixed))
        for (const Policy& policy : policies_to_try(wanted, fixed)) {
          one.max_length = length;
          one.step.method = method;
          one.model.quantization = storage;
          one.step.policy = policy;
          for (const auto r : halvings(lora_r(one), 4, may_change(fixed, "lora_r"))) {
            set_lora_r(one, r);
            out.push_back(one);
          }
        }
  return out;
}

/// Where optimizer states and layer inputs may live, nearest to the device first. Inputs wait only where layers are
/// recomputed.
inline std::vector<Offload> offloads_to_try(const PlanConfig& config, const SearchLimits& limits) {
  std::vector<Offload> out = {config.step.offload};
  if (!limits.offload || !may_change(limits.fixed, "offload")) return out;
  if (config.step.recompute == Recompute::full) out.push_back({.activations = true});
  out.push_back({.optimizer = true, .activations = config.step.recompute == Recompute::full});
  return out;
}

/// The variant that needs the least memory and gives the same result.
inline PlanConfig leanest(PlanConfig config, const SearchLimits& limits) {
  const FixedKeys& fixed = limits.fixed;
  if (may_change(fixed, "batch_size")) {
    config.gradient_accumulation_steps *= config.batch_size;
    config.batch_size = 1;
  }
  if (may_change(fixed, "gradient_checkpointing")) config.step.recompute = Recompute::full;
  if (may_change(fixed, "loss_chunk")) config.step.loss_chunk = token_multiple;
  config.step.offload = offloads_to_try(config, limits).back();
  return config;
}

/// What gives the same result in less memory and more time, the fastest first: without the host's memory, or with it.
inline std::vector<PlanConfig> by_speed(const PlanConfig& choice, const SearchLimits& limits, bool with_host) {
  std::vector<PlanConfig> out;
  for (const std::int64_t chunk : {choice.step.loss_chunk, token_multiple}) {
    if (chunk != choice.step.loss_chunk && !may_change(limits.fixed, "loss_chunk")) continue;
    for (const Recompute level : {Recompute::none, Recompute::selective, Recompute::full}) {
      if (level != choice.step.recompute && !may_change(limits.fixed, "gradient_checkpointing")) continue;
      if (level != Recompute::full && choice.step.offload.activations) continue;
      PlanConfig one = choice;
      one.step.recompute = level;
      one.step.loss_chunk = chunk;
      for (const Offload& offload : offloads_to_try(one, limits)) {
        if ((offload != choice.step.offload) != with_host) continue;
        one.step.offload = offload;
        out.push_back(one);
      }
    }
  }
  return out;
}

/// As many rows at a time as fit, the rest by accumulation: a step still sees the rows it was to see.
inline bool fill_batch(PlanConfig& config, std::int64_t budget, bool may_split, PeakOf peak_of) {
  if (peak_of(config) <= budget) return true;
  if (!may_split) return false;
  const auto bracket = largest_fitting(config, budget, growable("batch_size"), peak_of);
  if (!bracket.fits) return false;
  const std::int64_t rows =
      checked_mul(config.batch_size, config.gradient_accumulation_steps, "batch_size x gradient_accumulation_steps");
  config.gradient_accumulation_steps = ceil_div(rows, std::min(bracket.fits->value, config.batch_size));
  config.batch_size = ceil_div(rows, config.gradient_accumulation_steps);
  return true;
}

/// Of a choice whose leanest variant fits: as little recompute as leaves a batch that keeps the matrix products busy
/// (about 2,048 tokens), else the largest batch. Copies to and from the host only where nothing fits without.
inline PlanConfig fastest(const PlanConfig& choice, std::int64_t budget, const SearchLimits& limits, PeakOf peak_of) {
  const std::int64_t busy = std::min(choice.batch_size, ceil_div(2048, choice.max_length));
  for (const bool with_host : {false, true}) {
    std::optional<PlanConfig> best;
    for (PlanConfig& candidate : by_speed(choice, limits, with_host)) {
      if (!fill_batch(candidate, budget, may_change(limits.fixed, "batch_size"), peak_of)) continue;
      if (candidate.batch_size >= busy) return candidate;
      if (!best || candidate.batch_size > best->batch_size) best = candidate;
    }
    if (best) return *best;
  }
  return leanest(choice, limits);
}

inline std::vector<Trade> trades(const PlanConfig& wanted, const PlanConfig& found, const SearchLimits& limits,
                                 PeakOf peak_of) {
  std::vector<Trade> out;
  for (const Setting& setting : memory_settings) {
    const std::string from = setting.text(wanted), to = setting.text(found);
    if (from == to || from.empty() || to.empty()) continue;
    PlanConfig kept = found;
    setting.copy(wanted, kept);
    if (setting.changes_result) kept = leanest(kept, limits);
    out.push_back({std::string(setting.key), from, to, peak_of(kept)});
  }
  return out;
}

}  // namespace detail

/// Looks for the configuration nearest to `wanted` that fits into `budget` bytes. What changes only the time is traded
/// before what changes the result. When nothing fits, the leanest configuration comes back with fits = false.
/// Configurations are asked about without `batches`: a run with known rows has a `peak_of` that lays them out.
inline Fit fit_into(PlanConfig wanted, std::int64_t budget, const SearchLimits& limits, PeakOf peak_of) {
  wanted.batches.reset();
  if (const std::int64_t bytes = peak_of(wanted); bytes <= budget) return {wanted, bytes, true};
  Fit out;
  for (const PlanConfig& choice : detail::by_preference(wanted, limits)) {
    out.config = detail::leanest(choice, limits);
    out.bytes = peak_of(out.config);
    out.fits = out.bytes <= budget;
    if (!out.fits) continue;
    out.config = detail::fastest(choice, budget, limits, peak_of);
    out.bytes = peak_of(out.config);
    out.trades = detail::trades(wanted, out.config, limits, peak_of);
    return out;
  }
  return out;
}

/// The settings that would fit when one key alone, not among the fixed ones, is changed: each as near to what was
/// wanted as it can be.
inline std::vector<Fit> nearest_fits(const PlanConfig& wanted, std::int64_t budget, const SearchLimits& limits,
                                     PeakOf peak_of) {
  std::vector<Fit> out;
  for (const Setting& setting : memory_settings) {
    if (limits.fixed.contains(setting.key)) continue;
    SearchLimits alone{.lora = limits.lora, .offload = limits.offload};
    for (const Setting& other : memory_settings)
      if (other.key != setting.key) alone.fixed.insert(std::string(other.key));
    if (Fit one = fit_into(wanted, budget, alone, peak_of); one.fits && !one.trades.empty())
      out.push_back(std::move(one));
  }
  return out;
}

}  // namespace hone
