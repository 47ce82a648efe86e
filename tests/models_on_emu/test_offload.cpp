// Layer inputs and optimizer states in the host's memory: the bits of a run that keeps them on the device, with graphs
// and without, however late a copy passes; planned to the byte; and a driver call that fails leaves nothing behind.
#include "emu/lambda_kernel.hpp"
#include "kernels/faults.hpp"
#include "late_copies.hpp"
#include "model_on_emu.hpp"

#include <hone/plan/planned_step.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

using namespace hone;
using namespace hone::test;

namespace {

constexpr std::int64_t few_tokens = 8;

/// As narrow as can be, emulated kernels take their time; but the head is large enough for 8-bit states.
LlamaConfig layers(std::int64_t count) {
  LlamaConfig config = tiny(8);
  config.vocab_size = 256;
  config.hidden_size = config.intermediate_size = 16;
  config.num_hidden_layers = count;
  return config;
}

Batch few_of(std::int32_t seed) {
  Batch out;
  for (const std::int32_t length : {5, 3}) {
    Example example;
    for (std::int32_t i = 0; i < length; ++i) {
      example.ids.push_back((seed + 7 * i + 3 * length) % 256);
      example.supervised.push_back(i != 1);
    }
    out.add(example);
  }
  out.most_documents = 3;
  return out;
}

StepConfig step_of(const Method& method, const Policy& policy, MomentType moments, Offload offload) {
  return {.method = method,
          .policy = policy,
          .recompute = Recompute::full,
          .optimizer = AdamWOptions{.weight_decay = 0.1, .moments = moments},
          .offload = offload};
}
const Method few_adapters = LoraTuning{{.r = 4, .alpha = 8, .dropout = 0.1}, {"q_proj"}};
constexpr Offload nothing{}, everything{.optimizer = true, .activations = true};

/// A plan, and the run that keeps to it.
struct Run {
  Emu device = poisoned_device<Emu>();
  Plan plan;
  Llama<bf16, Emu> model;
  std::unique_ptr<TrainingStep<bf16, Emu>> step;
  std::unique_ptr<PlannedStep<bf16, Emu>> planned;

  Run(const LlamaConfig& config, const StepConfig& of, bool graphs)
      : plan(planned_on(device, config, of)), model(config, device) {
    fill_base(model);
    step = std::make_unique<TrainingStep<bf16, Emu>>(model, of);
    fill_adapters(model);
    planned = std::make_unique<PlannedStep<bf16, Emu>>(plan, *step, PlannedStepOptions{.graphs = graphs});
  }

  static PlanConfig plan_config(const LlamaConfig& config, const StepConfig& of) {
    return {.model = config,
            .step = of,
            .batch_size = 1,
            .max_length = few_tokens,
            .gradient_accumulation_steps = 2,
            .batches = BatchSizes{{few_tokens}, {few_tokens}},
            .most_documents = 3,
            .max_new_tokens = 1};
  }
  static Plan planned_on(const Emu& device, const LlamaConfig& config, const StepConfig& of) {
    Plan out = plan_training<bf16>(plan_config(config, of), device.target());
    reserve_slabs(out, device);
    return out;
  }

  void train(std::int32_t number) {
    for (const std::int32_t batch : {2 * number, 2 * number + 1})
      seen.push_back(planned->accumulate(few_of(batch), static_cast<std::uint64_t>(batch)));
    seen.push_back(planned->update(1e-3).grad_norm);
  }
  /// Losses, norms, and all weights and states.
  std::vector<double> end() {
    for (const double loss : planned->evaluate(few_of(9))) seen.push_back(loss);
    for (const auto& [name, values] : collect(model, [](const auto& weight) { return doubles(weight); }))
      seen.insert(seen.end(), values.begin(), values.end());
    step->visit_optimizer_state([&](const std::string&, const auto& state) {
      for (const double value : doubles(state)) seen.push_back(value);
    });
    return std::move(seen);
  }

  std::vector<double> seen;
};

std::vector<double> two_steps(const StepConfig& of, bool graphs, std::int64_t count) {
  Run run(layers(count), of, graphs);
  for (std::int32_t i = 0; i < 2; ++i) run.train(i);
  auto out = run.end();
  CHECK(run.planned->graphs() == (graphs ? 3 : 0));  // a first batch, a later one, the update
  const Ledger& actual = run.device.memory().ledger();
  CHECK(run.plan.peak_bytes == actual.device().peak);
  for (const Category category : all_categories) {
    CAPTURE(name_of(category));
    CHECK(run.plan.highest[index_of(category)] == actual.of(category).peak);
    CHECK((is_temporary(category) || run.plan.resident[index_of(category)] == actual.of(category).now));
  }
  CHECK((actual.of(Category::host).peak > 0) == of.offload.any());
  return out;
}

/// `late`: also with copies that pass as late as they may, and a layer more.
void check_same_bits(const Method& method, const Policy& policy, MomentType moments, bool late = false) {
  CAPTURE(policy.name);
  const auto with = [&](Offload offload) { return step_of(method, policy, moments, offload); };
  const std::int64_t count = late ? 3 : 2;
  const auto wanted = two_steps(with(nothing), false, count);
  CHECK(two_steps(with(everything), true, count) == wanted);
  if (!late) return;
  const LateCopies put_off;
  CHECK(two_steps(with(everything), false, count) == wanted);
  CHECK(LateCopies::put_off() > 50);
  CHECK(LateCopies::too_early() == 0);
}

Plan plan_of(std::int64_t count, Offload offload, const Target& target) {
  const StepConfig of = step_of(FullTuning{}, policy::mixed, MomentType::full, offload);
  return plan_training<bf16>(Run::plan_config(layers(count), of), target);
}

}  // namespace

TEST_CASE("what is offloaded gives the bits of what is not, and is planned to the byte: AdamW with master copies") {
  check_same_bits(FullTuning{}, policy::mixed, MomentType::full, true);
}

TEST_CASE("the same of 8-bit states, weights rounded by chance") {
  check_same_bits(FullTuning{}, policy::bf16, MomentType::blockwise_8bit);
}

TEST_CASE("the same of LoRA with dropout and bf16 moments") {
  check_same_bits(few_adapters, policy::bf16, MomentType::bf16);
}

TEST_CASE("the device holds two layer inputs, and a small part of the states") {
  const Target target{.kind = DeviceKind::cuda, .alignment = 256, .sm = 80};
  const auto highest = [](const Plan& plan, Category category) { return plan.highest[index_of(category)]; };
  constexpr std::int64_t input = few_tokens * 16 * sizeof(bf16);
  const Plan few = plan_of(4, {.activations = true}, target), many = plan_of(12, {.activations = true}, target);
  CHECK(highest(many, Category::activations) == highest(few, Category::activations));
  CHECK(highest(many, Category::host) == 11 * input);
  CHECK(highest(plan_of(12, {}, target), Category::activations) ==
        highest(plan_of(4, {}, target), Category::activations) + 8 * input);
  const Plan states = plan_of(12, {.optimizer = true}, target), kept = plan_of(12, {}, target);
  CHECK(highest(states, Category::optimizer) < highest(kept, Category::optimizer) / 3);
  CHECK(highest(states, Category::host) > highest(kept, Category::optimizer) * 9 / 10);
  const Plan phase = plan_of(4, everything, target);
  CHECK(phase.phase("train")->at_peak[index_of(Category::host)] == phase.resident[index_of(Category::host)]);
}

TEST_CASE("on the processor nothing moves") {
  const Plan with = plan_of(4, everything, {}), without = plan_of(4, {}, {});
  CHECK(with.highest == without.highest);
  CHECK(with.peak_bytes == without.peak_bytes);
}

TEST_CASE("a second forward pass before the backward of the first is refused, and the model goes on") {
  Run run(layers(2), step_of(few_adapters, policy::bf16, MomentType::full, everything), false);
  Batch batch = few_of(1);
  {
    auto first = run.model.loss(batch);
    CHECK(contains(error_of([&] { run.model.loss(batch).backward(); }), "[offload] a second forward pass began"));
    first.backward();
  }
  run.model.loss(batch).backward();
}

TEST_CASE("a driver call of an offloaded step that fails leaves nothing behind") {
  const StepConfig of = step_of(few_adapters, policy::bf16, MomentType::full, everything);
  std::int64_t calls = 0;
  {
    Run run(layers(2), of, false);
    const Faults counted(-1);
    run.train(0);
    calls = Faults::calls();
  }
  for (const std::int64_t n : {calls / 4, calls / 2, calls - 9}) {
    CAPTURE(n);
    const LateCopies late;
    Run run(layers(2), of, false);
    {
      const Faults failing(n);
      CHECK(contains(error_of([&] { run.train(0); }), "a call that the test made fail"));
    }
    CHECK(LateCopies::under_way() == 0);
    CHECK(run.device.memory().ledger().of(Category::activations).now == 0);
    CHECK(run.device.memory().ledger().of(Category::workspace).now == 0);
  }
  {
    const Faults counted(-1);
    Run(layers(2), of, true).train(0);
    CHECK(Faults::open() == 0);
  }
}

TEST_CASE("a driver call that fails while an offloaded batch is written down: the step begins anew, with its bits") {
  const StepConfig of = step_of(few_adapters, policy::bf16, MomentType::full, everything);
  const auto write_down = [](Run& run) { run.planned->accumulate(few_of(2), 2); };
  std::vector<double> wanted;
  std::int64_t calls = 0;
  {
    Run run(layers(2), of, true);
    run.train(0);
    const Faults counted(-1);
    run.train(1);
    calls = Faults::calls();
    wanted = run.end();
  }
  Run run(layers(2), of, true);
  run.train(0);
  for (const std::int64_t n : {calls / 8, calls / 5, calls / 4}) {  // of two batches and an update: in the first
    CAPTURE(n);
    const Faults failing(n);
    CHECK(contains(error_of([&] { write_down(run); }), "a call that the test made fail"));
    CHECK(run.planned->graphs() == 0);
    CHECK(run.device.memory().ledger().of(Category::activations).now == 0);
  }
  run.train(1);
  CHECK(run.planned->graphs() == 3);
  CHECK(run.end() == wanted);
}

TEST_CASE("an update of offloaded states that fails has the device wait for the copies under way") {
  using Parameter = OptimizedView<float, float>;
  const LateCopies late;
  const Emu device;
  constexpr std::int64_t count = 8 * detail::offload_grain;
  std::vector<float> on_device(2 * count), on_host(2 * count);
  Parameter one{.weight = {on_device.data(), {count}, 1},
                .master = {nullptr, {0}, 1},
                .gradient = {on_device.data() + count, {count}, 1},
                .states = {}};
  one.states[0] = View<float, 1>{on_host.data(), {count}, 1};
  one.states[1] = View<float, 1>{on_host.data() + count, {count}, 1};
  OffloadedStates<Emu> states(device, 4 * std::int64_t{sizeof(float)} * detail::offload_grain);  // four chunks
  for (int good = 0; good < 3; ++good) {
    int chunk = 0;
    const auto apply = [&](std::span<const Parameter>) { check(chunk++ < good, "this chunk fails"); };
    CHECK(error_of([&] { states.update(std::span<const Parameter>(&one, 1), apply); }) == "this chunk fails");
    CHECK(LateCopies::under_way() == 0);
  }
  CHECK(LateCopies::put_off() == 4 + 8 + 12);
}
