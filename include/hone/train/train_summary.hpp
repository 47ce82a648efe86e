// What a run reports when it has ended.
#pragma once

#include <hone/train/stage_losses.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace hone {

/// What a finished run reports.
struct TrainSummary {
  std::int64_t steps = 0, tokens = 0, skipped = 0;  ///< tokens: supervised
  std::int64_t parameters = 0, trainable = 0;       ///< elements
  std::int64_t batch_tokens = 0;                    ///< all tokens that went through training steps, this time
  double step_seconds = 0;                          ///< in those steps, without validation and saving
  std::optional<double> best_seconds;               ///< from the start to the best validation
  double train_loss = 0;                            ///< of the last step
  StageLoss validation;                             ///< on the rows held out
  std::int64_t planned_bytes = 0, actual_bytes = 0;
  double seconds = 0;
  bool interrupted = false;
  std::vector<StageLoss> earlier;  ///< of also_evaluate
};

}  // namespace hone
