// The trainer: plans its memory, loads, steps, resumes; when it is time it has the run validated and saved. It knows no
// method by name.
#pragma once

#include <hone/plan/plan_words.hpp>
#include <hone/plan/planned_step.hpp>
#include <hone/plan/products.hpp>
#include <hone/plan/refusal.hpp>
#include <hone/train/auto_settings.hpp>
#include <hone/train/batches.hpp>
#include <hone/train/checkpoint.hpp>
#include <hone/train/configured_step.hpp>
#include <hone/train/fingerprint.hpp>
#include <hone/train/gemm_tuning_scope.hpp>
#include <hone/train/output_folder.hpp>
#include <hone/train/run_layout.hpp>
#include <hone/train/run_log.hpp>
#include <hone/train/stage_losses.hpp>
#include <hone/train/train_summary.hpp>
#include <hone/train/training_data.hpp>
#include <hone/train/validation.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// One run on one device. Construct, then run().
template <class T, Device D, Communicator C = Self>
class Trainer {
 public:
  Trainer(const TrainConfig& config, const LlamaConfig& model_config, TrainingData data, const Policy& policy,
          const D& device, Console console, const std::atomic<bool>* stop = nullptr)
      : config_(config),
        model_config_(model_config),
        data_(std::move(data)),
        policy_(policy),
        device_(device),
        console_(console),
        stop_(stop),
        layout_(config_, data_),
        output_(config_, console_),
        validation_(layout_, config_.early_stopping_patience, state_, console_) {
    schedule_ = {.kind = schedule_named(config_.lr_scheduler),
                 .learning_rate = config_.resolved_learning_rate(),
                 .total_steps = layout_.total_steps,
                 .warmup_steps = static_cast<std::int64_t>(
                     std::ceil(config_.warmup_ratio * static_cast<double>(layout_.total_steps))),
                 .min_lr_ratio = config_.min_lr_ratio};
  }
  Trainer(const Trainer&) = delete;  // its members point at one another
  Trainer& operator=(const Trainer&) = delete;

  /// What the run will occupy; made before anything is read.
  const Plan& plan() {
    if (!plan_) plan_ = plan_training<T>(planned_run(), device_.target());
    return *plan_;
  }

  TrainSummary run() {
    const GemmTuningScope<D> tuning(device_, config_.gemm_tuning);
    state_.gemm_tuning = tuning.hash();
    enforce_budget();
    fingerprint_ = fingerprint(config_, policy_, data_, layout_.total_steps);
    reserve_slabs(plan(), device_);
    Llama<T, D> model(model_config_, device_);
    load(model);
    TrainingStep<T, D, C> step(model, step_config(config_, policy_));
    read_stack(model);
    print_header(model);
    output_.open();
    if (const auto from = output_.resume_from())
      resume(step, *from);
    else
      output_.start_afresh();
    MetricsFile metrics(output_.metrics(), state_.step);
    metrics_ = &metrics;
    device_.memory().reset_peaks();
    train(step);
    finish(step);
    metrics_ = nullptr;
    return summary_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  PlanConfig planned_run() const {
    PlanConfig run = plan_config(config_, model_config_, policy_);
    run.batches = layout_.sizes;
    run.most_documents = layout_.train.most_documents();
    return run;
  }

  /// Before anything is read.
  void enforce_budget() {
    if (offload_named(config_.offload).any())
      check_host_bytes(plan().highest[index_of(Category::host)], available_memory());
    if (config_.vram_budget <= 0) return;
    if (plan().peak_bytes > config_.vram_budget)
      throw OutOfMemory(refusal(plan(), planned_run(), config_.vram_budget,
                                {.fixed = {"dtype"}, .offload = is_card(device_.target())}, [&](const PlanConfig& run) {
                                  return peak_of_training<T>(with_rows(run, config_, data_), device_.target());
                                }));
    device_.memory().set_budget(config_.vram_budget);
  }

  void load(Llama<T, D>& model) {
    if (config_.from_scratch) return initialise(model, config_.seed);
    read_weights(model, TensorFiles(config_.model), model_config_.tie_word_embeddings);
  }

  /// The weights of the adapters below the one that trains.
  void read_stack(Llama<T, D>& model) {
    for (const auto& [name, folder] : config_.stack_on)
      for (const std::string& note : read_stacked(model, name, folder, config_.model)) console_.line("note: " + note);
  }

  void print_header(Llama<T, D>& model) {
    std::int64_t all = 0, trainable = 0;
    for (const auto& parameter : model.parameters().items) {
      all += parameter.elements();
      if (parameter.trainable()) trainable += parameter.elements();
    }
    QuantisedShare quantised;
    visit_quantised(model, [&](const std::string&, const auto& weight) { quantised.add(weight); });
    all += quantised.elements;
    summary_.parameters = all;
    summary_.trainable = trainable;
    console_.line(trainable_line(trainable, all));
    if (quantised.elements > 0) console_.line("base: " + quantised.words(model_config_.quantization->type));
    std::string rows = fmt::format("rows: {} to train on, {} held out", data_.train.size(), data_.valid.size());
    if (data_.dropped > 0)
      rows += fmt::format(", {} longer than max_length {} left out", data_.dropped, config_.max_length);
    if (data_.valid_dropped > 0) rows += fmt::format(", {} of the held-out ones as well", data_.valid_dropped);
    for (const StageRows& stage : data_.earlier)
      if (stage.dropped > 0) rows += fmt::format(", {} of {} as well", stage.dropped, stage.name);
    if (data_.truncated > 0) rows += fmt::format(", {} cut to max_length {}", data_.truncated, config_.max_length);
    console_.line(rows);
    console_.line(fmt::format("steps: {} of {} x {} rows, {} on {} ({} threads, {})", layout_.total_steps,
                              config_.gradient_accumulation_steps, config_.batch_size, policy_.name,
                              name_of(device_.target().kind), device_.target().threads, name_of(device_.target().isa)));
    const std::string offloaded = offload_words(offload_named(config_.offload), device_.target());
    if (!offloaded.empty()) console_.line("offload: " + offloaded);
    if constexpr (Copying<D>)
      if (const auto& table = device_.gemm_tuning(); table != nullptr)
        console_.line(gemm_tuning_words(*table, products_of_training<T>(planned_run(), device_.target())));
  }

  void resume(TrainingStep<T, D, C>& step, const std::filesystem::path& folder) {
    const std::string gemm_tuning = std::exchange(state_, read_trainer_state(folder)).gemm_tuning;
    check(state_.fingerprint == fingerprint_,
          "resume: [{}] belongs to a run with other data, another base or other settings; start anew in another "
          "folder, or with --overwrite_output_dir instead of --resume",
          folder.string());
    check_same_gemm_tuning(state_.gemm_tuning, gemm_tuning, folder.string());
    load_checkpoint(step, state_, folder);
    output_.repeat_from(state_.step);
    const auto isa = name_of(device_.target().isa);
    if (state_.isa != isa)
      console_.line(fmt::format("warning: the run began on {} and goes on with {}: its bits will not be the same",
                                state_.isa, isa));
    console_.line(fmt::format("resumed from {} at step {}", folder.string(), state_.step));
  }

  // --- the loop ---

  void train(TrainingStep<T, D, C>& step) {
    state_.fingerprint = fingerprint_;
    state_.isa = name_of(device_.target().isa);
    check(Copying<D> || config_.cuda_graphs != "true", "cuda_graphs: true wants a card, and this run's device is {}",
          name_of(device_.target().kind));
    PlannedStep<T, D, C> planned(plan(), step, PlannedStepOptions{.graphs = config_.cuda_graphs != "false"});
    for (const auto* sizes : {&layout_.sizes.train, &layout_.sizes.evaluate})
      if (!sizes->empty()) batch_.reserve(*sizes->rbegin());
    seconds_before_ = state_.seconds;
    begin_ = Clock::now();
    if (state_.step == 0) validation_.measure(planned, batch_, *metrics_);
    while (state_.epoch < static_cast<std::int64_t>(layout_.epochs.size()) && !stopping()) {
      const auto& batches = layout_.epochs[static_cast<std::size_t>(state_.epoch)];
      while (state_.batch < static_cast<std::int64_t>(batches.size()) && !stopping()) one_step(step, planned, batches);
      settle(planned);
      if (state_.batch < static_cast<std::int64_t>(batches.size())) break;
      state_.batch = 0;
      ++state_.epoch;
    }
    summary_.interrupted = stop_ != nullptr && *stop_;
  }

  bool stopping() const { return validation_.stops() || (stop_ != nullptr && *stop_); }

  void one_step(TrainingStep<T, D, C>& step, PlannedStep<T, D, C>& planned,
                const std::vector<std::vector<std::size_t>>& batches) {
    OpenStep now{.started = Clock::now()};
    for (std::int64_t i = 0;
         i < config_.gradient_accumulation_steps && state_.batch < static_cast<std::int64_t>(batches.size()); ++i) {
      layout_.train.fill(batch_, batches[static_cast<std::size_t>(state_.batch++)]);
      planned.add(batch_, static_cast<std::uint64_t>(state_.draws++));
      now.tokens += batch_.tokens();
      largest_batch_ = std::max(largest_batch_, batch_.tokens());
    }
    now.rate = schedule_.at(++state_.step);
    now.step = state_.step;
    now.epoch =
        static_cast<double>(state_.epoch) + static_cast<double>(state_.batch) / static_cast<double>(batches.size());
    planned.begin_update(now.rate);
    settle(planned);  // the step before; a card works on this one meanwhile
    open_ = now;
    if (!Copying<D> || config_.on_nonfinite == "stop") settle(planned);
    after_step(step, planned, state_.batch == static_cast<std::int64_t>(batches.size()));
  }

  /// A step that was given to the device, and not told of yet.
  struct OpenStep {
    Clock::time_point started{};
    std::int64_t step = 0, tokens = 0;
    double rate = 0, epoch = 0;
  };

  /// Tells of the step that is open, if any; waits for it.
  void settle(PlannedStep<T, D, C>& planned) {
    if (!open_) return;
    const OpenStep step = *open_;
    open_.reset();
    const StepReport report = planned.finish_update();
    const auto now = Clock::now();
    const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
    const double took = seconds(now - std::max(step.started, std::exchange(settled_, now)));
    state_.optimizer_steps = report.optimizer.steps;
    state_.tokens += report.optimizer.tokens;
    state_.seconds = seconds_before_ + seconds(now - begin_);
    summary_.batch_tokens += step.tokens;
    summary_.step_seconds += took;
    summary_.train_loss = report.loss / static_cast<double>(std::max<std::int64_t>(report.optimizer.tokens, 1));
    report_step(step, report.optimizer, static_cast<double>(step.tokens) / std::max(took, 1e-9));
  }

  void report_step(const OpenStep& step, const OptimizerReport& report, double tokens_per_second) {
    const double per_step =
        (state_.seconds - seconds_before_) / static_cast<double>(std::max<std::int64_t>(1, ++steps_here_));
    const std::int64_t memory = device_.memory().ledger().device().peak;
    metrics_->write({{"step", step.step},
                     {"epoch", step.epoch},
                     {"loss", summary_.train_loss},
                     {"grad_norm", report.grad_norm},
                     {"learning_rate", step.rate},
                     {"tokens", report.tokens},
                     {"tokens_per_second", tokens_per_second},
                     {"memory_bytes", memory},
                     {"skipped", report.skipped}});
    console_.progress({step.step, layout_.total_steps, step.epoch, summary_.train_loss, report.grad_norm, step.rate,
                       tokens_per_second, per_step * static_cast<double>(layout_.total_steps - step.step), memory});
    if (!report.skipped) return;
    ++state_.skipped;
    console_.line(
        fmt::format("step {}: the gradient norm is not finite (loss {}); the step was skipped, nothing was updated",
                    step.step, summary_.train_loss));
    check(config_.on_nonfinite != "stop", "step {}: the gradient norm is not finite (loss {}) and on_nonfinite is stop",
          step.step, summary_.train_loss);
  }

  void after_step(TrainingStep<T, D, C>& step, PlannedStep<T, D, C>& planned, bool epoch_ends) {
    const auto due = [&](const std::optional<std::int64_t>& every) {
      return every ? state_.step % *every == 0 : epoch_ends;
    };
    const bool evaluates = due(config_.eval_steps) || state_.step == layout_.total_steps;
    const bool saves = due(config_.save_steps);
    if (evaluates || saves) settle(planned);  // what is written says all that has been done
    if (evaluates && validation_.measure(planned, batch_, *metrics_) && state_.step > 0) output_.save_best(step);
    if (saves) output_.save(step, state_of_next());
  }

  /// Where a resumed run begins: after an epoch that just ended, with the next one.
  TrainerState state_of_next() const {
    TrainerState out = state_;
    if (out.batch == static_cast<std::int64_t>(layout_.epochs[static_cast<std::size_t>(out.epoch)].size())) {
      out.batch = 0;
      ++out.epoch;
    }
    return out;
  }

  void report_losses() {
    if (state_.losses.empty()) return;
    summary_.validation = state_.losses.front();
    if (state_.best_loss) summary_.best_seconds = state_.best_seconds;
    summary_.earlier.assign(state_.losses.begin() + 1, state_.losses.end());
    if (summary_.earlier.empty()) return;
    write_file(output_.stages(), stages_to_json(state_.losses).dump(2) + "\n");
    for (const std::string& line : stage_table(state_.losses)) console_.line(line);
  }

  void finish(TrainingStep<T, D, C>& step) {
    if (summary_.interrupted && !layout_.epochs.empty() &&
        state_.epoch < static_cast<std::int64_t>(layout_.epochs.size()))
      output_.save(step, state_of_next());
    output_.save_last(step);
    summary_.steps = state_.step;
    summary_.tokens = state_.tokens;
    summary_.skipped = state_.skipped;
    summary_.seconds = state_.seconds;
    report_losses();
    summary_.planned_bytes = plan().peak_bytes;
    summary_.actual_bytes = device_.memory().ledger().device().peak;
    // A run that was cut short may never meet the batch its plan is made for.
    const bool whole = largest_batch_ == *layout_.sizes.train.rbegin();
    console_.line(fmt::format("memory: planned {} B, actual {} B, difference {} B{}", summary_.planned_bytes,
                              summary_.actual_bytes, summary_.actual_bytes - summary_.planned_bytes,
                              whole ? "" : " (the largest batch was not reached)"));
    if (summary_.interrupted)
      console_.line(
          fmt::format("interrupted at step {} of {}; --resume goes on from there", state_.step, layout_.total_steps));
    console_.line(
        fmt::format("done: {} steps in {}, {} supervised tokens{}", summary_.steps, human_duration(summary_.seconds),
                    with_commas(summary_.tokens),
                    summary_.skipped > 0 ? fmt::format(", {} steps skipped as not finite", summary_.skipped) : ""));
  }

  TrainConfig config_;
  LlamaConfig model_config_;
  TrainingData data_;
  Policy policy_;
  D device_;
  Console console_;
  const std::atomic<bool>* stop_;
  RunLayout layout_;
  TrainerState state_;
  TrainSummary summary_;
  OutputFolder output_;
  Validation validation_;
  Batch batch_;  // the one at hand
  std::string fingerprint_;
  Schedule schedule_;
  std::optional<Plan> plan_;
  MetricsFile* metrics_ = nullptr;
  std::optional<OpenStep> open_;
  Clock::time_point begin_{}, settled_{};
  double seconds_before_ = 0;
  std::int64_t steps_here_ = 0;
  std::int64_t largest_batch_ = 0;
};

/// Runs a configuration on one device: reads the folder and the rows, then trains.
template <class T, Device D>
TrainSummary train(const TrainConfig& config, const Policy& policy, const D& device, Console console,
                   const std::atomic<bool>* stop = nullptr) {
  validate(config);
  const auto model_config =
      with_quantisation(read_llama_config(std::filesystem::path(config.model) / "config.json"), config);
  TrainConfig settled = with_defaults(config, model_config);
  const auto tokenizer = load_tokenizer(config.model, model_config);
  check(tokenizer.has_value(), "[{}] there is no tokenizer.json in this folder", config.model);
  auto data = load_training_data(settled, *tokenizer);
  if (wants_auto(settled)) {
    const TrainConfig asked = settled;
    settled = resolve_auto(asked, model_config, policy, automatic_budget(asked), [&](const PlanConfig& run) {
      return peak_of_training<T>(with_rows(run, asked, data), device.target());
    });
    console.line(fmt::format("auto: batch_size {}, gradient_checkpointing {}", settled.batch_size,
                             settled.gradient_checkpointing));
  }
  return Trainer<T, D>(settled, model_config, std::move(data), policy, device, std::move(console), stop).run();
}

}  // namespace hone
