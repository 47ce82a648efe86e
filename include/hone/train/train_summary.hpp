// What a run reports when it has ended.
#pragma once

#include <cstdint>
#include <optional>

namespace hone {

/// What a finished run reports.
struct TrainSummary {
  std::int64_t steps = 0, tokens = 0, skipped = 0;
  double train_loss = 0;  ///< of the last step
  std::optional<double> first_eval_loss, eval_loss, best_eval_loss;
  std::int64_t planned_bytes = 0, actual_bytes = 0;
  double seconds = 0;
  bool interrupted = false;
};

}  // namespace hone
