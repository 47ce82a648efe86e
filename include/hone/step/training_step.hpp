// The training step: a method prepares the model, an optimizer holds its state, and batches go through both. The plan
// runs this very code on Meta.
#pragma once

#include <hone/autograd/random.hpp>
#include <hone/models/llama.hpp>
#include <hone/optim/adamw.hpp>
#include <hone/optim/sgd.hpp>
#include <hone/peft/method.hpp>
#include <hone/peft/stacked_lora.hpp>
#include <hone/step/batch_staging.hpp>
#include <hone/step/communicator.hpp>
#include <hone/step/gradient_state.hpp>
#include <hone/step/step_graphs.hpp>
#include <hone/step/step_reports.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

/// What of a step is kept in the host's memory. The bits are the same; on the processor nothing changes.
struct Offload {
  bool optimizer = false;    ///< moments and fp32 master copies, in chunks of OptimizerOptions::offload_chunk if stated
  bool activations = false;  ///< the inputs that Recompute::full keeps of the layers; nothing without it

  bool any() const { return optimizer || activations; }
  friend bool operator==(const Offload&, const Offload&) = default;
};

/// What a list of "optimizer" and "activations" names.
inline Offload offload_named(std::span<const std::string> names) {
  Offload out;
  for (const std::string& name : names) {
    check(name == "optimizer" || name == "activations",
          "offload: '{}' cannot be offloaded; optimizer and activations can", name);
    (name == "optimizer" ? out.optimizer : out.activations) = true;
  }
  return out;
}
/// The way back.
inline std::vector<std::string> names_of(const Offload& offload) {
  std::vector<std::string> out;
  if (offload.optimizer) out.emplace_back("optimizer");
  if (offload.activations) out.emplace_back("activations");
  return out;
}

/// Everything about a step but the model and the data.
struct StepConfig {
  Method method = LoraTuning{};
  std::vector<StackedLora> stack = {};  ///< frozen LoRAs of earlier stages, below what trains
  Policy policy = policy::fp32;
  Recompute recompute = Recompute::none;
  std::int64_t loss_chunk = 0;  ///< see Llama::loss_chunk
  std::variant<AdamWOptions, SgdOptions> optimizer = AdamWOptions{};
  std::uint64_t seed = 42;  ///< of dropout
  Offload offload = {};
};

/// Puts the earlier stages on a model and prepares it for the method.
template <class Model>
void prepare_methods(Model& model, const StepConfig& config) {
  for (const StackedLora& stage : config.stack) put_stacked(model, stage);
  std::visit([&](const auto& method) { method.prepare(model, config.policy); }, config.method);
}

/// On a card nothing here waits for it but what says so: batches go there through pinned memory, and losses, norm and
/// update stay there until they are asked for. `via` does the work of a part of the step: StepGraphs, or as it is.
template <class T, Device D, Communicator C = Self>
class TrainingStep {
 public:
  /// `model` has its weights loaded and outlives the step. Adapters, gradients and optimizer state are allocated here.
  TrainingStep(Llama<T, D>& model, const StepConfig& config, C communicator = {})
      : model_(model),
        config_(config),
        communicator_(std::move(communicator)),
        optimizer_(prepare(model, config)),
        gradients_(model.trainable_parameters()) {
    if (on_card()) step_loss_ = Tensor<double, D>::empty(model.device(), {1}, {Category::optimizer, "step loss"});
  }

  Llama<T, D>& model() { return model_; }
  C& communicator() { return communicator_; }

  /// Adds the gradient of one batch; returns the sum of its losses, for which it waits.
  double accumulate(const Batch& batch, std::uint64_t draw) {
    add(batch, draw);
    return batch_loss();
  }

  /// Adds the gradient of one batch. `draw` numbers the batch within the run: it seeds the dropout, so that a batch
  /// meets the same masks whenever it is run again. A batch that fails takes the step's gradients with it; the weights
  /// stay, and the step can begin anew.
  template <class Via = WithoutGraphs>
  void add(const Batch& batch, std::uint64_t draw, Via&& via = {}) {
    try {
      const std::int64_t tokens = gradients_.tokens();
      const auto on_device = stage(batch, config_.seed + 0x9e3779b97f4a7c15u * (draw + 1));
      const StepPart part = gradients_.begun() ? StepPart::later_batch : StepPart::first_batch;
      batch_loss_at_ = via(model_.device(), key_of(part, batch, on_device), gradients_, [&] { return run(on_device); });
      gradients_.add_batch(tokens, on_device.supervised);
    } catch (...) {
      forget();
      throw;
    }
  }
  /// Sum of the losses of the batch that was added last, before anything else is asked of the device. Waits; where the
  /// device fails, the step's gradients are gone as if the batch had.
  double batch_loss() {
    if constexpr (Copying<D>) {
      try {
        return read<double>(batch_loss_at_, 1).front();
      } catch (...) {
        forget();
        throw;
      }
    } else {
      return batch_loss_;
    }
  }

  /// Sums gradients over the processes and applies one optimizer step at `learning_rate`, for which it waits.
  OptimizerReport update(double learning_rate) {
    begin_update(learning_rate);
    return finish_update().optimizer;
  }
  /// The same without waiting: finish_update() tells what came of it. At most two may be open.
  template <class Via = WithoutGraphs>
  void begin_update(double learning_rate, Via&& via = {}) {
    std::visit(
        [&](auto& optimizer) {
          if (communicator_.size() > 1) {
            optimizer.visit_gradients([&](const auto& gradient) { communicator_.sum(gradient); });
            communicator_.sum(optimizer.token_count());
          }
          optimizer.set_learning_rate(learning_rate);
          apply(optimizer, via);
        },
        optimizer_);
    gradients_.end_step();
  }
  /// The report of the oldest update that was begun and not finished. Waits for that update and for nothing later.
  StepReport finish_update() {
    if constexpr (Copying<D>)
      return reports_.take();
    else
      return report_;
  }

  /// Token losses of a batch, nothing recorded. They stay until the next call.
  template <class Via = WithoutGraphs>
  const std::vector<double>& evaluate(const Batch& batch, Via&& via = {}) {
    const auto on_device = stage(batch, 0);
    if constexpr (Copying<D>) {
      const void* at = via(model_.device(), key_of(StepPart::evaluate, batch, on_device), gradients_,
                           [&] { return model_.token_losses(on_device).data(); });
      const auto values = read<Accumulator<T>>(at, on_device.supervised);
      losses_.assign(values.begin(), values.end());
    } else {
      model_.token_losses(on_device).copy_to(losses_);
    }
    return losses_;
  }

  /// f(name, tensor) for everything a checkpoint must hold besides the weights.
  template <class F>
  void visit_optimizer_state(F&& f) {
    std::visit([&](auto& optimizer) { optimizer.visit_state(f); }, optimizer_);
  }
  std::int64_t steps() const {
    return std::visit([](const auto& optimizer) { return optimizer.steps(); }, optimizer_);
  }
  void set_steps(std::int64_t steps) {
    std::visit([&](auto& optimizer) { optimizer.set_steps(steps); }, optimizer_);
  }

 private:
  using AnyOptimizer = std::variant<AdamW<D>, Sgd<D>>;

  /// Drops what has been collected of a step that failed: recorded ops and what they hold, gradients, tokens.
  void forget() {
    current_tape().clear();
    std::visit([](auto& optimizer) { optimizer.zero_grad(); }, optimizer_);
    gradients_.end_step();
  }

  bool on_card() const { return is_card(model_.device().target()); }

  /// Named by the batch as it was planned, whatever virtual tokens make of its size.
  static StepKey key_of(StepPart part, const Batch& batch, const DeviceBatch<D>& on_device) {
    const std::int64_t documents = std::max(on_device.document_count, on_device.most_documents);
    return {part, batch.tokens(), on_device.supervision.count, on_device.virtual_tokens > 0 ? documents : 0};
  }

  DeviceBatch<D> stage(const Batch& batch, std::uint64_t seed) {
    Batch room;
    const Batch& whole = model_.prepared(batch, room);
    if constexpr (Copying<D>) {
      return staging_.upload(whole, model_.device(), seed);
    } else {
      auto out = upload(whole, model_.device());
      out.seed = seed;
      return out;
    }
  }

  /// Forward and backward; where the batch's loss is.
  const double* run(const DeviceBatch<D>& batch) {
    set_seed(batch.seed);
    auto loss = model_.loss(batch);
    loss.backward();
    if (on_card()) copy_into(loss.sum, step_loss_, gradients_.begun());
    if constexpr (!Copying<D>) {
      batch_loss_ = loss.sum.item();
      report_.loss = (gradients_.begun() ? report_.loss : 0) + batch_loss_;
    }
    return loss.sum.data();
  }

  template <class Optimizer, class Via>
  void apply(Optimizer& optimizer, Via& via) {
    if constexpr (Copying<D>) {
      const D& device = model_.device();
      reports_.send(device, optimizer.input(), optimizer.numbers());
      via(device, StepKey{.part = StepPart::update}, gradients_, [&]() -> const void* {
        optimizer.launch();
        return nullptr;
      });
      optimizer.zero_grad();
      reports_.fetch(device, optimizer.numbers(), step_loss_);
    } else {
      report_.optimizer = optimizer.step();
    }
  }

  /// `count` values of the device's memory. Waits.
  template <class V>
  std::vector<V> read(const void* at, std::int64_t count) const {
    std::vector<V> out(static_cast<std::size_t>(count));
    copy_to_host(model_.device(), out.data(), at, out.size() * sizeof(V));
    return out;
  }

  static AdamW<D> make_optimizer(ParameterList<D> parameters, const AdamWOptions& options) {
    return {std::move(parameters), options};
  }
  static Sgd<D> make_optimizer(ParameterList<D> parameters, const SgdOptions& options) {
    return {std::move(parameters), options};
  }

  static AnyOptimizer prepare(Llama<T, D>& model, const StepConfig& config) {
    prepare_methods(model, config);
    model.recompute = config.recompute;
    model.offload_activations(config.offload.activations && config.recompute == Recompute::full);
    model.loss_chunk = config.loss_chunk;
    return std::visit(
        [&](auto options) -> AnyOptimizer {
          options.update = config.policy.update;
          if (!config.offload.optimizer)  // it decides; the options of an optimizer only say in which chunks
            options.offload_chunk = 0;
          else if (options.offload_chunk == 0)
            options.offload_chunk = default_offload_chunk;
          return make_optimizer(model.trainable_parameters(), options);
        },
        config.optimizer);
  }

  Llama<T, D>& model_;
  StepConfig config_;
  C communicator_;
  AnyOptimizer optimizer_;
  GradientState<D> gradients_;
  Tensor<double, D> step_loss_;  // on a card; elsewhere it is in report_
  const void* batch_loss_at_ = nullptr;
  double batch_loss_ = 0;
  StepReport report_;
  StepReports reports_;
  BatchStaging staging_;
  std::vector<double> losses_;
};

}  // namespace hone
