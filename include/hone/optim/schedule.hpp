// Learning-rate schedules: a linear warm-up, then one of four shapes down to a floor.
#pragma once

#include <hone/core/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <string_view>
#include <utility>

namespace hone {

enum class ScheduleKind { constant, linear, cosine, warmup_stable_decay };

/// The names of --lr_scheduler; warmup_stable_decay is also "wsd".
inline ScheduleKind schedule_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, ScheduleKind>, 6> names = {
      {{"constant", ScheduleKind::constant},
       {"constant_with_warmup", ScheduleKind::constant},
       {"linear", ScheduleKind::linear},
       {"cosine", ScheduleKind::cosine},
       {"warmup_stable_decay", ScheduleKind::warmup_stable_decay},
       {"wsd", ScheduleKind::warmup_stable_decay}}};
  for (const auto& [known, kind] : names)
    if (known == name) return kind;
  fail("lr_scheduler: '{}' is not known; choose cosine, linear, constant or warmup_stable_decay", name);
}

/// The learning rate of each step of a run.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double learning_rate = 2e-4;
  std::int64_t total_steps = 1;
  std::int64_t warmup_steps = 0;
  double min_lr_ratio = 0;   ///< floor, as a share of learning_rate
  double decay_ratio = 0.1;  ///< warmup_stable_decay: the share of all steps that decays, at the end

  /// Rate of step 1, 2, ..., total_steps. Warm-up step s of W runs at s / (W + 1) of the full rate: transformers counts
  /// from 0 and so spends its first step at rate 0. After the warm-up the curves are transformers'.
  double at(std::int64_t step) const {
    const auto s = static_cast<double>(std::max<std::int64_t>(step, 1) - 1), total = static_cast<double>(total_steps);
    const auto warmup = static_cast<double>(std::min(warmup_steps, total_steps));
    if (s < warmup) return learning_rate * (s + 1) / (warmup + 1);
    const double progress = total > warmup ? std::min(1.0, (s - warmup) / (total - warmup)) : 1.0;
    return learning_rate *
           (min_lr_ratio + (1 - min_lr_ratio) * shape(progress, total > warmup ? total - warmup : 1, total));
  }

 private:
  /// 1 at progress 0, falling to 0 at progress 1.
  double shape(double progress, double steps, double total) const {
    switch (kind) {
      case ScheduleKind::constant:
        return 1;
      case ScheduleKind::linear:
        return 1 - progress;
      case ScheduleKind::cosine:
        return 0.5 * (1 + std::cos(std::numbers::pi * progress));
      case ScheduleKind::warmup_stable_decay: {
        const double decay = std::min(1.0, decay_ratio * total / steps);
        return progress < 1 - decay || decay == 0 ? 1 : (1 - progress) / decay;
      }
    }
    return 1;
  }
};

}  // namespace hone
