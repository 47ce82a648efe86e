// Training steps of a model of known shape with random weights: tokens per second, planned and actual memory.
// bench/baseline/train_step.py does the same in PyTorch; both print one JSON object.
//   --model NAME           qwen2.5-0.5b, llama-3.1-8b, ... (see hone plan)
//   --method full|lora|qlora  everything in bf16 with stochastic rounding, or LoRA of rank 16 beside every linear,
//   whose
//                          weight is dense or NF4 with double quantisation
//   --rows B --length T    one batch; --accumulation N batches make a step
//   --steps K              timed steps, after three that are not; the median counts
//   --recompute none|selective|full
//   --graphs true|false    a card's launches as graphs; the bits are the same
#pragma once

#include <hone/models/known_models.hpp>
#include <hone/plan/planned_step.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace hone::bench {

struct TrainStepFlags {
  std::string model = "qwen2.5-0.5b", method = "full", recompute = "none";
  std::int64_t rows = 8, length = 1024, accumulation = 1, steps = 10;
  bool graphs = true;
};

inline TrainStepFlags parse(int count, char** words) {
  TrainStepFlags flags;
  for (int i = 1; i < count; i += 2) {
    const std::string_view name = words[i];
    check(i + 1 < count, "{}: a value is wanted", name);
    const std::string value = words[i + 1];
    if (name == "--model")
      flags.model = value;
    else if (name == "--method")
      flags.method = value;
    else if (name == "--recompute")
      flags.recompute = value;
    else if (name == "--graphs")
      flags.graphs = value == "true";
    else if (name == "--rows")
      flags.rows = std::stoll(value);
    else if (name == "--length")
      flags.length = std::stoll(value);
    else if (name == "--accumulation")
      flags.accumulation = std::stoll(value);
    else if (name == "--steps")
      flags.steps = std::stoll(value);
    else
      fail("{} is not known; see the head of bench/model/train_step.hpp", name);
  }
  check(flags.method == "full" || flags.method == "lora" || flags.method == "qlora",
        "--method: {} is none of full, lora, qlora", flags.method);
  return flags;
}

inline PlanConfig planned_run(const TrainStepFlags& flags, const Policy& policy) {
  PlanConfig run{.model = known_model(flags.model)};
  run.step.policy = policy;
  if (flags.method == "full")
    run.step.method = FullTuning{};
  else
    run.step.method = LoraTuning{{.r = 16, .alpha = 32}};
  if (flags.method == "qlora") run.model.quantization = Quantisation{};
  run.step.recompute = flags.recompute == "full"        ? Recompute::full
                       : flags.recompute == "selective" ? Recompute::selective
                                                        : Recompute::none;
  run.batch_size = flags.rows;
  run.max_length = flags.length;
  run.gradient_accumulation_steps = flags.accumulation;
  run.max_new_tokens = 0;
  return run;
}

/// Random tokens, all supervised: the same in every run.
inline Batch random_batch(const TrainStepFlags& flags, std::int64_t vocabulary) {
  std::vector<Example> rows(static_cast<std::size_t>(flags.rows));
  std::uint64_t word = 0;
  for (Example& row : rows)
    for (std::int64_t i = 0; i < flags.length; ++i) {
      row.ids.push_back(static_cast<std::int32_t>(philox_word(1, 0, word++) % static_cast<std::uint64_t>(vocabulary)));
      row.supervised.push_back(true);
    }
  return make_batch(rows);
}

template <class T, Device D>
void print_steps(const TrainStepFlags& flags, const Policy& policy, const D& device, const std::string& where) {
  using Clock = std::chrono::steady_clock;
  const PlanConfig run = planned_run(flags, policy);
  const Plan plan = plan_training<T>(run, device.target());
  reserve_slabs(plan, device);
  Llama<T, D> model(run.model, device);
  initialise(model, 1);
  TrainingStep<T, D> step(model, run.step);
  PlannedStep<T, D> planned(plan, step, PlannedStepOptions{.graphs = flags.graphs});
  const Batch batch = random_batch(flags, run.model.vocab_size);
  device.memory().reset_peaks();
  std::vector<double> seconds, losses;
  constexpr std::int64_t warm_up = 3;  // as they are, written down, and one more
  for (std::int64_t i = 0; i < flags.steps + warm_up; ++i) {
    const auto begin = Clock::now();
    for (std::int64_t part = 0; part < flags.accumulation; ++part)
      planned.add(batch, static_cast<std::uint64_t>(i * flags.accumulation + part));
    planned.begin_update(1e-5);
    const StepReport report = planned.finish_update();
    losses.push_back(report.loss / static_cast<double>(report.optimizer.tokens));
    if (i >= warm_up) seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  const auto tokens = static_cast<double>(flags.rows * flags.length * flags.accumulation);
  std::printf(
      R"({"engine": "hone", "device": "%s", "model": "%s", "method": "%s", "rows": %lld, "length": %lld, )"
      R"("accumulation": %lld, "recompute": "%s", "seconds": %.6f, "tokens_per_second": %.1f, "planned_bytes": %lld, )"
      R"("actual_bytes": %lld, "reserved_bytes": %lld, "first_loss": %.17g, "last_loss": %.17g})"
      "\n",
      where.c_str(), flags.model.c_str(), flags.method.c_str(), static_cast<long long>(flags.rows),
      static_cast<long long>(flags.length), static_cast<long long>(flags.accumulation), flags.recompute.c_str(), median,
      tokens / median, static_cast<long long>(plan.peak_bytes),
      static_cast<long long>(device.memory().ledger().device().peak), static_cast<long long>(plan.reserved_bytes()),
      losses.front(), losses.back());
}

/// `body` with errors told as sentences.
template <class Body>
int guarded(Body&& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace hone::bench
