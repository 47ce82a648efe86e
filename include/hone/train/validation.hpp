// The validation of a run: the losses on the rows that are held out and on those of earlier stages, which of them is
// the lowest, and when none has been for so long that the run stops early.
#pragma once

#include <hone/train/batches.hpp>
#include <hone/train/checkpoint.hpp>
#include <hone/train/run_layout.hpp>
#include <hone/train/run_log.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace hone {

class Validation {
 public:
  /// What it is given lives longer; what it finds goes into `state`. `patience`: validations without a gain before the
  /// run stops.
  Validation(const RunLayout& layout, std::optional<std::int64_t> patience, TrainerState& state, Console& console)
      : layout_(layout),
        patience_(patience.value_or(std::numeric_limits<std::int64_t>::max())),
        state_(state),
        console_(console) {}

  /// Measures and tells, once a step; true when the loss is the lowest so far. `planned` is a PlannedStep, and `batch`
  /// is filled with one batch after the other.
  template <class Planned>
  bool measure(Planned& planned, Batch& batch, MetricsFile& metrics) {
    if (last_ == state_.step) return false;
    if (last_ < 0) list_stages();  // once: a warm step asks the heap for nothing
    last_ = state_.step;
    measure_earlier(planned, batch, metrics);
    if (layout_.valid_epoch.empty()) return false;
    const auto [loss, tokens] = mean_loss(planned, batch, layout_.valid, layout_.valid_epoch);
    metrics.write({{"step", state_.step}, {"eval_loss", loss}, {"eval_tokens", tokens}});
    const bool best = std::isfinite(loss) && (!state_.best_loss || loss < *state_.best_loss);
    console_.line("step {}: validation loss {:.4f}{}", state_.step, loss,
                  best && state_.step > 0 ? " (best so far)" : "");
    note(state_.losses.front(), loss);
    best ? keep_best(loss) : count_without_gain();
    return best;
  }

  /// Whether the run is to stop early.
  bool stops() const { return stops_; }

 private:
  /// Loss per supervised token over `batches`, and the number of these tokens.
  template <class Planned>
  static std::pair<double, std::int64_t> mean_loss(Planned& planned, Batch& batch, const BatchPlan& plan,
                                                   const std::vector<std::vector<std::size_t>>& batches) {
    double sum = 0;
    std::int64_t tokens = 0;
    for (const auto& members : batches) {
      plan.fill(batch, members);
      for (const double loss : planned.evaluate(batch)) sum += loss;
      tokens += batch.supervised();
    }
    return {sum / static_cast<double>(std::max<std::int64_t>(tokens, 1)), tokens};
  }

  /// A place for every loss, by name: a run that is resumed may look at other stages than before.
  void list_stages() {
    std::vector<StageLoss> stages = {{.name = std::string(this_run)}};
    for (const StageLayout& stage : layout_.earlier) stages.push_back({.name = stage.name});
    for (StageLoss& stage : stages) {
      const auto known = std::ranges::find(state_.losses, stage.name, &StageLoss::name);
      if (known != state_.losses.end()) stage = *known;
    }
    state_.losses = std::move(stages);
  }

  /// The losses on the rows of earlier stages.
  template <class Planned>
  void measure_earlier(Planned& planned, Batch& batch, MetricsFile& metrics) {
    for (std::size_t i = 0; i < layout_.earlier.size(); ++i) {
      const StageLayout& stage = layout_.earlier[i];
      const double loss = mean_loss(planned, batch, stage.plan, stage.batches).first;
      note(state_.losses[i + 1], loss);
      metrics.write({{"step", state_.step}, {"stage", static_cast<std::int64_t>(i + 1)}, {"stage_loss", loss}});
      console_.line("step {}: loss on {} {:.4f}", state_.step, stage.name, loss);
    }
  }

  void note(StageLoss& stage, double loss) const {
    if (state_.step == 0) stage.before = loss;
    stage.last = loss;
  }

  void keep_best(double loss) {
    for (StageLoss& stage : state_.losses) stage.best = stage.last;
    state_.best_loss = loss;
    state_.best_step = state_.step;
    state_.best_seconds = state_.seconds;
    state_.evaluations_without_gain = 0;
  }

  void count_without_gain() {
    if (++state_.evaluations_without_gain < patience_) return;
    console_.line(fmt::format("step {}: no gain in {} validations, stopping early", state_.step,
                              state_.evaluations_without_gain));
    stops_ = true;
  }

  const RunLayout& layout_;
  std::int64_t patience_;
  TrainerState& state_;
  Console& console_;
  std::int64_t last_ = -1;  // the step that was measured last
  bool stops_ = false;
};

}  // namespace hone
