// What a run reports when it has ended.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hone {

/// Loss per supervised token on the rows of an earlier stage: at the start (not known to a run that was resumed), at
/// the best validation, and at the end.
struct StageLoss {
  std::string name;
  std::optional<double> before, best, last;
};

/// What a finished run reports.
struct TrainSummary {
  std::int64_t steps = 0, tokens = 0, skipped = 0;  ///< tokens: supervised
  std::int64_t parameters = 0, trainable = 0;       ///< elements
  std::int64_t batch_tokens = 0;                    ///< all tokens that went through training steps, this time
  double step_seconds = 0;                          ///< in those steps, without validation and saving
  std::optional<double> best_seconds;               ///< from the start to the best validation
  double train_loss = 0;                            ///< of the last step
  std::optional<double> first_eval_loss;            ///< before training; not known to a run that was resumed
  std::optional<double> eval_loss, best_eval_loss;
  std::int64_t planned_bytes = 0, actual_bytes = 0;
  double seconds = 0;
  bool interrupted = false;
  std::vector<StageLoss> earlier = {};  ///< of also_evaluate
};

}  // namespace hone
