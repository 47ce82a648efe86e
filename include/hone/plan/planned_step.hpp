// A run that keeps to its plan: slabs taken beforehand, temporaries replayed where the plan packed them.
#pragma once

#include <hone/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace hone {

/// Takes the slabs of a plan on a device, before the model is built there.
template <Device D>
void reserve_slabs(const Plan& plan, const D& device) {
  for (const Category category : {Category::weights, Category::gradients, Category::optimizer, Category::host})
    device.memory().reserve_slab(category, plan.resident[index_of(category)]);
  device.memory().reserve_plan(plan.slab_bytes());
}

struct PlannedStepOptions {
  bool graphs = true;  ///< on a card: the parts of a step are written down once and replayed. The bits are the same.
  std::size_t most_graphs = most_step_graphs;  ///< work that finds no place among them is done without
};

/// A training step whose temporaries sit where the plan put them.
template <class T, Device D, Communicator C = Self>
class PlannedStep {
 public:
  PlannedStep(const Plan& plan, TrainingStep<T, D, C>& step, const PlannedStepOptions& options = {})
      : plan_(plan), step_(step), options_(options), graphs_(options.most_graphs) {
    if (const auto& inputs = step.model().host_inputs()) inputs->reserve(plan.layer_inputs);
  }

  /// As TrainingStep's.
  double accumulate(const Batch& batch, std::uint64_t draw) {
    add(batch, draw);
    return step_.batch_loss();
  }
  void add(const Batch& batch, std::uint64_t draw) {
    const Replay replay(memory(), packing(plan_.train, batch));
    with_or_without([&](auto&& via) { step_.add(batch, draw, via); });
  }
  OptimizerReport update(double learning_rate) {
    begin_update(learning_rate);
    return step_.finish_update().optimizer;
  }
  void begin_update(double learning_rate) {
    with_or_without([&](auto&& via) { step_.begin_update(learning_rate, via); });
  }
  StepReport finish_update() { return step_.finish_update(); }
  /// Token losses; they stay until the next call.
  const std::vector<double>& evaluate(const Batch& batch) {
    const Replay replay(memory(), packing(plan_.evaluate, batch));
    const std::vector<double>* losses = nullptr;
    with_or_without([&](auto&& via) { losses = &step_.evaluate(batch, via); });
    return *losses;
  }

  /// Graphs that have been written down.
  std::size_t graphs() const { return graphs_.size(); }

 private:
  template <class F>
  void with_or_without(F&& f) {
    if constexpr (Copying<D>) {
      if (options_.graphs) return f(graphs_);
    }
    f(WithoutGraphs{});
  }
  Memory& memory() { return step_.model().device().memory(); }
  static const Packing& packing(const std::map<std::int64_t, Packing>& packings, const Batch& batch) {
    const auto found = packings.find(batch.tokens());
    check(found != packings.end(), "[plan] a batch of {} tokens was not planned", batch.tokens());
    return found->second;
  }

  const Plan& plan_;
  TrainingStep<T, D, C>& step_;
  PlannedStepOptions options_;
  StepGraphs<D> graphs_;
};

}  // namespace hone
