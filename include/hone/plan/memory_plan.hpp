// The memory plan: the training step run on Meta for a target, its recorded temporaries packed once, to be replayed by
// the real run.
#pragma once

#include <hone/memory/replay.hpp>
#include <hone/step/training_step.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace hone {

/// What one run will occupy. Bytes are after rounding to the target's alignment.
struct MemoryPlan {
  std::array<std::int64_t, all_categories.size()> resident{};  ///< weights, gradients, optimizer: one slab each
  std::array<std::int64_t, all_categories.size()> peaks{};     ///< highest live bytes of each category
  std::int64_t peak = 0;                                       ///< highest live bytes of all together
  std::map<std::int64_t, Packing> train, evaluate;             ///< by tokens of a batch
  Meta::Work work;                                             ///< of one training batch of the largest size

  /// Bytes of the slab that the largest packing needs.
  std::int64_t slab_bytes() const {
    std::int64_t out = 0;
    for (const auto* packings : {&train, &evaluate})
      for (const auto& [tokens, packing] : *packings) out = std::max(out, packing.slab_bytes);
    return out;
  }
};

/// Plans a run whose training batches have the token counts `train`, and whose validation batches have `evaluate`.
template <class T>
MemoryPlan plan_training(const LlamaConfig& config, const StepConfig& step_config, const Target& target,
                         const std::set<std::int64_t>& train, const std::set<std::int64_t>& evaluate) {
  const Meta meta(target);
  Memory& memory = meta.memory();
  Llama<T, Meta> model(config, meta);
  TrainingStep<T, Meta> step(model, step_config);
  MemoryPlan plan;
  for (const Category category : all_categories) plan.resident[index_of(category)] = memory.ledger().of(category).now;
  for (const std::int64_t tokens : train) {
    meta.work() = {};
    Recording recording(memory);
    step.accumulate(planning_batch(tokens), 0);
    plan.train[tokens] = pack(recording.finish());
    plan.work = meta.work();
  }
  step.update(0);
  for (const std::int64_t tokens : evaluate) {
    Recording recording(memory);
    step.evaluate(planning_batch(tokens));
    plan.evaluate[tokens] = pack(recording.finish());
  }
  for (const Category category : all_categories) plan.peaks[index_of(category)] = memory.ledger().of(category).peak;
  plan.peak = memory.ledger().device().peak;
  return plan;
}

/// Takes the slabs of a plan on a device, before the model is built there.
template <Device D>
void reserve_slabs(const MemoryPlan& plan, const D& device) {
  for (const Category category : {Category::weights, Category::gradients, Category::optimizer})
    device.memory().reserve_slab(category, plan.resident[index_of(category)]);
  device.memory().reserve_plan(plan.slab_bytes());
}

/// A training step whose temporaries sit where the plan put them.
template <class T, Device D, Communicator C = Self>
class PlannedStep {
 public:
  PlannedStep(const MemoryPlan& plan, TrainingStep<T, D, C>& step) : plan_(plan), step_(step) {}

  double accumulate(const Batch& batch, std::uint64_t draw) {
    const Replay replay(memory(), packing(plan_.train, batch));
    return step_.accumulate(batch, draw);
  }
  std::vector<double> evaluate(const Batch& batch) {
    const Replay replay(memory(), packing(plan_.evaluate, batch));
    return step_.evaluate(batch);
  }

 private:
  Memory& memory() { return step_.model().device().memory(); }
  static const Packing& packing(const std::map<std::int64_t, Packing>& packings, const Batch& batch) {
    const auto found = packings.find(batch.tokens());
    check(found != packings.end(), "[plan] a batch of {} tokens was not planned", batch.tokens());
    return found->second;
  }

  const MemoryPlan& plan_;
  TrainingStep<T, D, C>& step_;
};

}  // namespace hone
