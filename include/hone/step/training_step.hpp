// The training step: a method prepares the model, an optimizer holds its state, and batches go through both. The plan
// runs this very code on Meta.
#pragma once

#include <hone/autograd/random.hpp>
#include <hone/models/llama.hpp>
#include <hone/optim/adamw.hpp>
#include <hone/optim/sgd.hpp>
#include <hone/peft/method.hpp>
#include <hone/step/communicator.hpp>

#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

/// Everything about a step but the model and the data.
struct StepConfig {
  Method method = LoraTuning{};
  Policy policy = policy::fp32;
  Recompute recompute = Recompute::none;
  std::int64_t loss_chunk = 0;  ///< see Llama::loss_chunk
  std::variant<AdamWOptions, SgdOptions> optimizer = AdamWOptions{};
  std::uint64_t seed = 42;  ///< of dropout
};

template <class T, Device D, Communicator C = Self>
class TrainingStep {
 public:
  /// `model` has its weights loaded and outlives the step. Adapters, gradients and optimizer state are allocated here.
  TrainingStep(Llama<T, D>& model, const StepConfig& config, C communicator = {})
      : model_(model), config_(config), communicator_(std::move(communicator)), optimizer_(prepare(model, config)) {}

  Llama<T, D>& model() { return model_; }
  C& communicator() { return communicator_; }

  /// Adds the gradient of one batch; returns the sum of its losses. `draw` numbers the batch within the run: it seeds
  /// the dropout, so that a batch meets the same masks whenever it is run again. A batch that fails takes the
  /// step's gradients with it; the weights stay, and the step can begin anew.
  double accumulate(const Batch& batch, std::uint64_t draw) {
    set_seed(config_.seed + 0x9e3779b97f4a7c15u * (draw + 1));
    try {
      auto loss = model_.loss(batch);
      loss.backward();
      return loss.sum.item();
    } catch (...) {
      forget();
      throw;
    }
  }

  /// Sums gradients over the processes and applies one optimizer step at `learning_rate`.
  OptimizerReport update(double learning_rate) {
    launch_update(learning_rate);
    return report();
  }

  /// The same without its report: with one process, nothing waits for the device.
  void launch_update(double learning_rate) {
    std::visit(
        [&](auto& optimizer) {
          if (communicator_.size() > 1) {
            optimizer.visit_gradients([&](const auto& gradient) { communicator_.sum(gradient); });
            communicator_.sum(optimizer.token_count());
          }
          optimizer.set_learning_rate(learning_rate);
          optimizer.update();
        },
        optimizer_);
  }
  /// What the last update did. Waits for the device.
  OptimizerReport report() const {
    return std::visit([](const auto& optimizer) { return optimizer.report(); }, optimizer_);
  }

  /// Token losses of a batch, nothing recorded. They stay until the next call.
  const std::vector<double>& evaluate(const Batch& batch) {
    model_.token_losses(batch, losses_);
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
  }

  static AdamW<D> make_optimizer(ParameterList<D> parameters, const AdamWOptions& options) {
    return {std::move(parameters), options};
  }
  static Sgd<D> make_optimizer(ParameterList<D> parameters, const SgdOptions& options) {
    return {std::move(parameters), options};
  }

  static AnyOptimizer prepare(Llama<T, D>& model, const StepConfig& config) {
    std::visit([&](const auto& method) { method.prepare(model, config.policy); }, config.method);
    model.recompute = config.recompute;
    model.loss_chunk = config.loss_chunk;
    return std::visit(
        [&](auto options) -> AnyOptimizer {
          options.update = config.policy.update;
          return make_optimizer(model.trainable_parameters(), options);
        },
        config.optimizer);
  }

  Llama<T, D>& model_;
  StepConfig config_;
  C communicator_;
  AnyOptimizer optimizer_;
  std::vector<double> losses_;
};

}  // namespace hone
