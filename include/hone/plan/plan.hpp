// The plan of a run: its own step, run on Meta for a target. Nothing is estimated: every allocation is the one the real
// run will make, its temporaries are packed once, and the run replays them.
#pragma once

#include <hone/memory/replay.hpp>
#include <hone/plan/generation.hpp>
#include <hone/plan/planned_graphs.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// What a run will occupy and compute. Bytes are after rounding to the target's alignment.
struct Plan {
  std::int64_t parameters = 0;                 ///< of the base, a tied head once, adapters apart
  std::int64_t adapter_parameters = 0;         ///< of what the method adds
  std::int64_t trainable_parameters = 0;       ///< of both
  std::int64_t peak_bytes = 0;                 ///< highest live bytes of the training run on the device
  CategoryBytes highest{};                     ///< each category's own highest in it
  CategoryBytes resident{};                    ///< weights, gradients, optimizer, host: one slab each
  std::int64_t layer_inputs = 0;               ///< of host: room for those that are offloaded, before rounding
  std::map<std::int64_t, Packing> train = {};  ///< temporaries of a batch, by its tokens
  std::map<std::int64_t, Packing> evaluate = {};
  std::vector<Phase> phases = {};  ///< load, train, evaluate, save; and generate, which is a run of its own
  Meta::Work step = {};            ///< of one optimizer step on batches of the largest size
  PlannedGraphs graphs = {};       ///< on a card, beside all bytes above

  /// Bytes of the slab in which the temporaries of all batches find their places.
  std::int64_t slab_bytes() const {
    std::int64_t out = 0;
    for (const auto* packings : {&train, &evaluate})
      for (const auto& [tokens, packing] : *packings) out = std::max(out, packing.slab_bytes);
    return out;
  }
  /// What the run takes from the device: all slabs.
  std::int64_t reserved_bytes() const { return device_bytes(resident) + slab_bytes(); }

  /// The phase of that name, or nullptr.
  const Phase* phase(std::string_view name) const {
    for (const Phase& one : phases)
      if (one.name == name) return &one;
    return nullptr;
  }
};

namespace detail {

/// A model and a step without memory.
template <class T>
class MetaRun {
 public:
  MetaRun(const PlanConfig& config, const Target& target)
      : meta_(target),
        model_(config.model, meta_),
        loaded_(resident_buffers(ledger())),
        step_(model_, config.step),
        prepared_(resident_buffers(ledger())),
        max_length_(config.max_length),
        most_documents_(most_documents(config)) {}

  const Ledger& ledger() const { return meta_.memory().ledger(); }
  const std::vector<Buffer>& loaded() const { return loaded_; }      ///< the base alone
  const std::vector<Buffer>& prepared() const { return prepared_; }  ///< and adapters, gradients, optimizer state

  void train(std::int64_t tokens) { step_.accumulate(planning_batch(tokens, max_length_, most_documents_), 0); }
  void update() { step_.update(0); }
  /// Takes the room that layer inputs want in the host's memory. Returns its bytes.
  std::int64_t take_host_room(std::int64_t most_tokens) {
    if (model_.host_inputs() == nullptr) return 0;
    train(most_tokens);
    prepared_ = resident_buffers(ledger());
    return model_.host_inputs()->bytes();
  }
  void evaluate(std::int64_t tokens) { step_.evaluate(planning_batch(tokens, max_length_, most_documents_)); }

  template <class F>
  Trace record(F&& f) {
    Recording recording(meta_.memory());
    f();
    return recording.finish();
  }
  /// What the kernels that f launches move and compute.
  template <class F>
  Meta::Work work_of(F&& f) {
    meta_.work() = {};
    f();
    return meta_.work();
  }

  /// The matrix products that f asks for.
  template <class F>
  std::set<gpu::GemmShape> products_of(F&& f) {
    std::set<gpu::GemmShape> out;
    meta_.collect_products(&out);
    f();
    meta_.collect_products(nullptr);
    return out;
  }

  void count_parameters(Plan& plan) {
    model_.visit_adapters(
        [&](const std::string&, const auto& weight) { plan.adapter_parameters += weight.elements(); });
    for (const auto& parameter : model_.parameters().items) {
      plan.parameters += parameter.elements();
      if (parameter.trainable()) plan.trainable_parameters += parameter.elements();
    }
    plan.parameters -= plan.adapter_parameters;
    visit_quantised(model_,
                    [&](const std::string&, const auto& weight) { plan.parameters += weight.shape().elements(); });
  }

 private:
  Meta meta_;
  Llama<T, Meta> model_;
  std::vector<Buffer> loaded_;
  TrainingStep<T, Meta> step_;
  std::vector<Buffer> prepared_;
  std::int64_t max_length_, most_documents_;
};

/// Packs the batches of one kind; the phase is that of the batch with the highest peak.
template <class T, class Step>
Phase plan_batches(MetaRun<T>& run, std::string_view name, const std::set<std::int64_t>& sizes,
                   std::map<std::int64_t, Packing>& packings, Step&& step) {
  Phase out;
  std::int64_t highest = -1;
  for (const std::int64_t tokens : sizes) {
    const Trace trace = run.record([&] { step(tokens); });
    const Packing& packing = packings[tokens] = pack(trace);
    if (packing.live_peak <= highest) continue;
    highest = packing.live_peak;
    out = describe_phase(std::string(name), run.prepared(), trace);
  }
  return out;
}

}  // namespace detail

/// Plans the training run of `config`, whose policy computes in T.
template <class T>
Plan plan_training(const PlanConfig& config, const Target& target) {
  Plan plan;
  detail::MetaRun<T> run(config, target);
  const BatchSizes sizes = batch_sizes(config);
  run.count_parameters(plan);
  if (!sizes.train.empty()) plan.layer_inputs = run.take_host_room(*sizes.train.rbegin());
  for (const Category category : all_categories) plan.resident[index_of(category)] = run.ledger().of(category).now;
  plan.phases.push_back(describe_phase("load", run.loaded(), {}));
  plan.phases.push_back(
      detail::plan_batches(run, "train", sizes.train, plan.train, [&](std::int64_t tokens) { run.train(tokens); }));
  if (!sizes.train.empty()) {
    const auto batch = run.work_of([&] { run.train(*sizes.train.rbegin()); });
    const auto update = run.work_of([&] { run.update(); });
    plan.step = batch * config.gradient_accumulation_steps + update;
    if (is_card(target) && config.graphs)
      plan.graphs = plan_graphs(std::ssize(sizes.train), std::ssize(sizes.evaluate), config.gradient_accumulation_steps,
                                batch.kernels + batch.copies, update.kernels + update.copies);
  }
  if (!sizes.evaluate.empty())
    plan.phases.push_back(detail::plan_batches(run, "evaluate", sizes.evaluate, plan.evaluate,
                                               [&](std::int64_t tokens) { run.evaluate(tokens); }));
  plan.phases.push_back(describe_phase("save", run.prepared(), {}));
  plan.peak_bytes = run.ledger().device().peak;
  for (const Category category : all_categories) plan.highest[index_of(category)] = run.ledger().of(category).peak;
  return plan;
}

/// The highest live bytes of that run, and nothing else: what a search asks for.
template <class T>
std::int64_t peak_of_training(const PlanConfig& config, const Target& target) {
  detail::MetaRun<T> run(config, target);
  const BatchSizes sizes = batch_sizes(config);
  if (!sizes.train.empty()) run.train(*sizes.train.rbegin());
  run.update();
  if (!sizes.evaluate.empty()) run.evaluate(*sizes.evaluate.rbegin());
  return run.ledger().device().peak;
}

/// Plans the run of `config` on `target`. No weights, no card and no toolkit are needed. Throws an Error that names the
/// first number no run can have.
inline Plan plan(const PlanConfig& config, const Target& target) {
  validate(config);
  return detail::with_compute_type(config.step.policy, [&]<class T>() {
    Plan out = plan_training<T>(config, target);
    out.phases.push_back(plan_generation<T>(config, target));
    return out;
  });
}

/// The highest live bytes of the training run of `config` on `target`.
inline std::int64_t peak_bytes(const PlanConfig& config, const Target& target) {
  validate(config);
  return detail::with_compute_type(config.step.policy, [&]<class T>() { return peak_of_training<T>(config, target); });
}

#if defined(HONE_COMPILED)  // a program that links hone::compiled finds these in compiled/plan.cpp
extern template Plan plan_training<float>(const PlanConfig&, const Target&);
extern template Plan plan_training<bf16>(const PlanConfig&, const Target&);
extern template std::int64_t peak_of_training<float>(const PlanConfig&, const Target&);
extern template std::int64_t peak_of_training<bf16>(const PlanConfig&, const Target&);
extern template Phase plan_generation<float>(const PlanConfig&, const Target&);
extern template Phase plan_generation<bf16>(const PlanConfig&, const Target&);
extern template GenerationWork work_of_generation<float>(const PlanConfig&, const Target&, std::int64_t, std::int64_t);
extern template GenerationWork work_of_generation<bf16>(const PlanConfig&, const Target&, std::int64_t, std::int64_t);
#endif

}  // namespace hone
