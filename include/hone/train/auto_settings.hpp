// The value `auto`: batch_size and gradient_checkpointing chosen by planning them into the memory there is.
#pragma once

#include <hone/core/human.hpp>
#include <hone/plan/search.hpp>
#include <hone/train/run_layout.hpp>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

namespace hone {

/// Whether a setting is left to be chosen.
inline bool wants_auto(const TrainConfig& config) {
  return config.batch_size == 0 || config.gradient_checkpointing == "auto";
}

/// Bytes the system could give without swapping (MemAvailable of Linux), 0 where that cannot be told.
inline std::int64_t available_memory() {
  std::ifstream file("/proc/meminfo");  // its size is said to be 0: it is made while it is read
  std::string key;
  std::int64_t kib = 0;
  while (file >> key) {
    if (key == "MemAvailable:" && file >> kib) return kib * 1024;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

/// Throws where a run would pin more of the host's memory than the system could give: it would starve all else before
/// it failed. `available` is available_memory(), 0 where nobody knows.
inline void check_host_bytes(std::int64_t planned, std::int64_t available) {
  check(
      available == 0 || planned <= available,
      "offload: the run keeps {} ({} B) in the host's memory, pinned, and {} ({} B) of it are available; offload less, "
      "or free some",
      human_bytes(planned), planned, human_bytes(available), available);
}

/// The budget that `auto` fills: vram_budget, or four fifths of what the system could give.
inline std::int64_t automatic_budget(const TrainConfig& config) {
  if (config.vram_budget > 0) return config.vram_budget;
  const std::int64_t available = available_memory();
  check(available > 0,
        "batch_size, gradient_checkpointing: 'auto' needs vram_budget here, since this system does not tell how much "
        "memory is free");
  return available / 5 * 4;
}

namespace detail {

/// The most rows, up to `most`, of which a batch fits; 0 when not even one does.
inline std::int64_t most_rows(PlanConfig config, std::int64_t budget, std::int64_t most, PeakOf peak_of) {
  std::int64_t fits = 0, too_many = most + 1;
  while (too_many - fits > 1) {
    config.batch_size = fits + (too_many - fits + 1) / 2;
    (peak_of(config) <= budget ? fits : too_many) = config.batch_size;
  }
  return fits;
}

}  // namespace detail

/// `config` with its automatic settings chosen: as many rows as fit, up to 32, and the least recompute that leaves a
/// batch of about 2,048 tokens, else the one that leaves the largest. Throws OutOfMemory when nothing fits. `peak_of`
/// lays out the rows of the run.
inline TrainConfig resolve_auto(TrainConfig config, const LlamaConfig& model, const Policy& policy, std::int64_t budget,
                                PeakOf peak_of) {
  constexpr std::int64_t most = 32;
  const bool auto_batch = config.batch_size == 0, auto_recompute = config.gradient_checkpointing == "auto";
  const std::int64_t stated = config.batch_size;
  if (auto_recompute) config.gradient_checkpointing = "none";
  PlanConfig wanted = plan_config(config, model, policy);
  config.batch_size = 0;
  for (const Recompute level : {Recompute::none, Recompute::selective, Recompute::full}) {
    if (!auto_recompute && level != wanted.step.recompute) continue;
    if (wanted.step.offload.activations && level != Recompute::full) continue;
    PlanConfig candidate = wanted;
    candidate.step.recompute = level;
    candidate.batch_size = stated;
    const std::int64_t rows = auto_batch                     ? detail::most_rows(candidate, budget, most, peak_of)
                              : peak_of(candidate) <= budget ? stated
                                                             : 0;
    if (rows <= config.batch_size) continue;
    config.batch_size = rows;
    config.gradient_checkpointing = name_of(level);
    if (!auto_batch || rows >= std::min(most, ceil_div(2048, config.max_length))) return config;
  }
  if (config.batch_size > 0) return config;
  wanted.batch_size = auto_batch ? 1 : stated;
  if (auto_recompute) wanted.step.recompute = Recompute::full;
  const std::int64_t least = peak_of(wanted);
  throw OutOfMemory(
      fmt::format("batch_size, gradient_checkpointing: no value of 'auto' fits into {} ({} B); the leanest "
                  "run needs {} ({} B)",
                  human_bytes(budget), budget, human_bytes(least), least));
}

}  // namespace hone
