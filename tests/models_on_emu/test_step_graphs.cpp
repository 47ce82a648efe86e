// Steps by way of graphs: the bits of steps without, every key written down once, nothing but graphs launched and
// nothing waited for inside a step, and a driver call that fails leaves nothing behind.
#include "emu/lambda_kernel.hpp"
#include "kernels/faults.hpp"
#include "model_on_emu.hpp"

#include <hone/kernels.cuh>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

using namespace hone;
using namespace hone::test;

namespace {

/// One layer as narrow as can be: emulated kernels take their time.
LlamaConfig narrow() {
  LlamaConfig config = tiny(8);
  config.vocab_size = 20;
  config.hidden_size = config.intermediate_size = 16;
  config.num_hidden_layers = 1;
  return config;
}
Setup lora() { return {"lora", narrow(), {.method = adapters}}; }
Setup full() {
  Setup out{"full", narrow(), {.method = FullTuning{}}};
  out.model.tie_word_embeddings = true;
  return out;
}

/// `lengths` of documents; every `every`-th token is not supervised.
Batch documents_of(std::initializer_list<std::int32_t> lengths, std::int32_t seed, std::int32_t every) {
  Batch out;
  for (const std::int32_t length : lengths) {
    Example example;
    for (std::int32_t i = 0; i < length; ++i) {
      example.ids.push_back((seed + 7 * i + 3 * length) % 20);
      example.supervised.push_back(i % every != every - 1);
    }
    out.add(example);
  }
  out.most_documents = 3;
  return out;
}

/// A plan for batches of 8 and of 12 tokens, and a step that keeps to it.
struct Run {
  Emu device;
  Plan plan;
  std::unique_ptr<Llama<float, Emu>> model;
  std::unique_ptr<TrainingStep<float, Emu>> step;
  std::unique_ptr<PlannedStep<float, Emu>> planned;

  Run(const Setup& setup, const PlannedStepOptions& options) {
    const PlanConfig config{.model = setup.model,
                            .step = setup.step,
                            .batch_size = 1,
                            .max_length = 12,
                            .gradient_accumulation_steps = 2,
                            .batches = BatchSizes{{8, 12}, {8}},
                            .most_documents = 3,
                            .max_new_tokens = 1};
    plan = plan_training<float>(config, device.target());
    reserve_slabs(plan, device);
    model = std::make_unique<Llama<float, Emu>>(setup.model, device);
    fill_base(*model);
    step = std::make_unique<TrainingStep<float, Emu>>(*model, setup.step);
    fill_adapters(*model);
    planned = std::make_unique<PlannedStep<float, Emu>>(plan, *step, options);
  }

  std::vector<double> weights() const {
    std::vector<double> all;
    for (const auto& [name, values] : collect(*model, [](const auto& weight) { return doubles(weight); }))
      all.insert(all.end(), values.begin(), values.end());
    step->visit_optimizer_state([&](const std::string&, const auto& state) {
      for (const double value : doubles(state)) all.push_back(value);
    });
    return all;
  }
  /// The weight of the last norm, of which no method trains an element through an adapter.
  Tensor<float, Emu> last_norm() const {
    Tensor<float, Emu> out;
    model->visit([&](const std::string& name, const Tensor<float, Emu>& weight) {
      if (name == "model.norm.weight") out = weight;
    });
    return out;
  }
};

const Batch small = documents_of({3, 4, 1}, 1, 4), other = documents_of({7, 1}, 2, 3),
            large = documents_of({9, 3}, 3, 5);

/// What a run shows: losses and norms of six steps of two batches, in the fourth of which a weight is not finite, token
/// losses in between, and what the weights and the optimizer's state are in the end. `late`: a step's report is taken
/// when the next one has been given to the device.
std::vector<double> six_steps(const Setup& setup, const PlannedStepOptions& options, bool late) {
  Run run(setup, options);
  run.device.memory().poison_new_blocks(true);
  std::vector<double> out, reports;
  const auto take = [&] {
    const StepReport report = run.planned->finish_update();
    CHECK(report.optimizer.skipped == (reports.size() / 4 == 3));
    for (const double value : {report.loss, report.optimizer.grad_norm, static_cast<double>(report.optimizer.tokens),
                               static_cast<double>(report.optimizer.steps)})
      reports.push_back(value);
  };
  const auto norm = run.last_norm();
  const auto norm_values = norm.to_vector();
  for (std::uint64_t i = 0; i < 6; ++i) {
    auto values = norm.to_vector();
    if (i == 3) values[5] = std::numeric_limits<float>::infinity();
    norm.copy_from(values);
    run.planned->add(small, 2 * i);
    run.planned->add(i % 2 == 0 ? large : other, 2 * i + 1);
    run.planned->begin_update(1e-3 * static_cast<double>(i + 1));
    if (!late || i > 0) take();
    if (i == 3) norm.copy_from(norm_values);
    if (i % 2 == 1)
      for (const double loss : run.planned->evaluate(i == 3 ? other : small)) out.push_back(loss);
  }
  if (late) take();
  for (const auto& values : {reports, run.weights()}) out.insert(out.end(), values.begin(), values.end());
  // 8 tokens first, 12 and 8 later, the update, an evaluation.
  CHECK(run.planned->graphs() == (options.graphs ? std::min<std::size_t>(5, options.most_graphs) : 0));
  CHECK(run.plan.graphs.count == 6);  // and 12 first, which these steps do not meet
  CHECK(run.plan.peak_bytes == run.device.memory().ledger().device().peak);
  return out;
}

/// Same bits, NaN included.
bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

/// What is asked of the driver while one lives.
class Calls {
 public:
  Calls() : before_(gpu::emulated_driver()) {
    state() = {.real = before_};
    gpu::Driver& driver = gpu::emulated_driver();
    driver.launch = [](const gpu::KernelCall& call, void* stream) {
      ++(state().capturing ? state().written : state().launches);
      return state().real.launch(call, stream);
    };
    driver.fill = [](void* to, int byte, std::size_t bytes, void* stream) {
      ++(state().capturing ? state().written : state().launches);
      return state().real.fill(to, byte, bytes, stream);
    };
    driver.begin_capture = [](void* stream) {
      ++state().captures;
      state().capturing = true;
      return state().real.begin_capture(stream);
    };
    driver.end_capture = [](void* stream, void** graph) {
      state().capturing = false;
      return state().real.end_capture(stream, graph);
    };
    driver.launch_graph = [](void* executable, void* stream) {
      ++state().graphs;
      return state().real.launch_graph(executable, stream);
    };
    driver.synchronize = [](void* stream) {
      ++state().waits;
      return state().real.synchronize(stream);
    };
    driver.synchronize_event = [](void* event) {
      ++state().event_waits;
      return state().real.synchronize_event(event);
    };
    driver.allocate = [](void** out, std::size_t bytes) {
      ++state().allocations;
      return state().real.allocate(out, bytes);
    };
    driver.copy = [](void* to, const void* from, std::size_t bytes, void* stream) {
      ++(state().capturing ? state().written : state().copies);
      return state().real.copy(to, from, bytes, stream);
    };
  }
  ~Calls() { gpu::emulated_driver() = before_; }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  struct Counts {
    gpu::Driver real;
    bool capturing = false;
    int launches = 0, written = 0, captures = 0, graphs = 0, waits = 0, event_waits = 0, allocations = 0, copies = 0;
  };
  static Counts& state() {
    static Counts value;
    return value;
  }

 private:
  gpu::Driver before_;
};

/// While one lives, memory of the emulated card that is given back is not free.
class KeptMemory {
 public:
  KeptMemory() : release_(gpu::emulated_driver().release) {
    gpu::emulated_driver().release = [](void* memory) {
      kept().push_back(memory);
      return 0;
    };
  }
  ~KeptMemory() {
    gpu::emulated_driver().release = release_;
    for (void* memory : std::exchange(kept(), {})) release_(memory);
  }
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;

 private:
  static std::vector<void*>& kept() {
    static std::vector<void*> value;
    return value;
  }
  int (*release_)(void*);
};

}  // namespace

TEST_CASE("steps by way of graphs give the bits of steps without, whenever their reports are taken") {
  const auto wanted = six_steps(lora(), {.graphs = false}, false);
  CHECK(same(six_steps(lora(), {}, true), wanted));
  CHECK(same(six_steps(lora(), {.most_graphs = 2}, false), wanted));
  CHECK(same(six_steps(full(), {}, false), six_steps(full(), {.graphs = false}, true)));
}

TEST_CASE("virtual tokens: the shapes of a key do not follow how many documents a batch has") {
  const Setup setup{"prefix", narrow(), {.method = Method{Attached<PrefixTuning>{{.num_virtual_tokens = 2}}}}};
  CHECK(same(six_steps(setup, {}, true), six_steps(setup, {.graphs = false}, false)));
}

TEST_CASE("a key is written down once; then a step is one launch a batch, one for the update, and no wait") {
  Run run(lora(), {});
  const auto step = [&](std::uint64_t number) {
    run.planned->add(small, 2 * number);
    run.planned->add(large, 2 * number + 1);
    run.planned->begin_update(1e-3);
  };
  const Calls calls;
  const auto& counts = Calls::state();
  step(0);  // as it is
  CHECK(counts.captures == 0);
  CHECK(counts.launches > 100);
  step(1);
  run.planned->finish_update();
  CHECK(counts.captures == 3);  // 8 tokens first, 12 later, the update
  CHECK(run.planned->graphs() == 3);
  CHECK(run.plan.graphs.nodes / run.plan.graphs.count >= counts.written / 3);
  CHECK(run.plan.graphs.nodes / run.plan.graphs.count <= counts.written / 3 * 3 / 2);
  for (std::uint64_t i = 2; i < 4; ++i) {
    Calls::Counts& now = Calls::state();
    now.launches = now.written = now.graphs = now.waits = now.event_waits = now.allocations = now.copies = 0;
    step(i);
    CHECK(counts.captures == 3);
    CHECK(counts.launches == 0);
    CHECK(counts.written == 0);
    CHECK(counts.graphs == 3);
    CHECK(counts.waits == 0);
    CHECK(counts.allocations == 0);
    CHECK(counts.copies == 2 + 3);  // a batch each; the step's input, and its report: numbers and loss
    // The step before: of all that was given to the device since, it waits for nothing.
    const StepReport report = run.planned->finish_update();
    CHECK(counts.waits == 0);
    CHECK(report.optimizer.steps == static_cast<std::int64_t>(i));
    CHECK(std::isfinite(report.loss));
  }
  run.planned->finish_update();
  CHECK_THROWS_WITH(run.planned->finish_update(), "[step] there is no update whose report has not been taken");
  run.planned->begin_update(0);
  run.planned->begin_update(0);
  CHECK_THROWS_WITH(run.planned->begin_update(0), "[step] 2 updates were begun and their reports not taken");
}

TEST_CASE("a graph is left alone when the step begins in another state, and is void when the plan has moved") {
  std::vector<std::vector<double>> ends;
  for (const bool graphs : {false, true}) {
    Run run(lora(), {.graphs = graphs});
    for (std::uint64_t i = 0; i < 5; ++i) {
      if (i == 2) {  // gradients that were collected by hand: the step's first batch has to add to them
        set_seed(99);
        run.model->loss(small).backward();
      }
      if (i == 3) {
        const KeptMemory kept;  // the new slab cannot lie where the old one does
        run.device.memory().reserve_plan(2 * run.plan.slab_bytes());
      }
      run.planned->add(small, i);
      run.planned->update(1e-3);
      if (graphs) CHECK(run.planned->graphs() == (i == 0 || i == 3 ? 0 : 2));
    }
    ends.push_back(run.weights());
  }
  CHECK(same(ends[0], ends[1]));
}

TEST_CASE("every driver call of writing a batch down and of replaying it fails once, and the step begins anew") {
  Run run(lora(), {});
  const auto loss_of = [&] {
    const double loss = run.planned->accumulate(small, 7);
    run.planned->update(0);  // at a rate of 0 the weights stay
    return loss;
  };
  const double wanted = loss_of();
  for (int i = 0; i < 4; ++i) run.step->evaluate(small);  // every buffer for batches on their way is there
  // Call n of a batch fails. Returns whether there was one.
  const auto fail = [&](std::int64_t n) {
    CAPTURE(n);
    const auto graphs = static_cast<std::int64_t>(run.planned->graphs());
    const Faults failing(n);
    const auto text = error_of([&] { run.planned->accumulate(small, 7); });
    if (text.empty()) return false;
    CAPTURE(text);
    CHECK(text.starts_with("[cuda] "));
    CHECK(contains(text, " failed: a call that the test made fail (status 719)"));
    CHECK(Faults::open() == static_cast<std::int64_t>(run.planned->graphs()) - graphs);
    CHECK(run.device.memory().ledger().of(Category::activations).now == 0);
    CHECK(run.device.memory().ledger().of(Category::workspace).now == 0);
    return true;
  };
  // Until a call comes that fails when the graph is there.
  std::int64_t n = 0;
  while (run.planned->graphs() == 0 && fail(n)) ++n;
  CHECK(n > 40);
  CHECK(run.planned->graphs() == 1);
  CHECK(loss_of() == wanted);
  for (n = 0; fail(n); ++n) CHECK(loss_of() == wanted);
  CHECK(n == 6);  // the batch's buffer, copy and event, the launch, and the loss's copy and wait
}

TEST_CASE("a failed call of a run by way of graphs leaves nothing open") {
  const auto whole_run = [&] {
    Run run(lora(), {});
    for (std::uint64_t i = 0; i < 2; ++i) {
      run.planned->add(small, i);
      run.planned->update(1e-3);
    }
  };
  std::int64_t calls = 0;
  {
    const Faults counted(-1);
    whole_run();
    calls = Faults::calls();
    CHECK(Faults::open() == 0);
  }
  for (std::int64_t n = 3; n < calls; n += 31) {
    CAPTURE(n);
    const Faults failing(n);
    const auto text = error_of(whole_run);
    CAPTURE(text);
    CHECK((text.starts_with("[cuda] ") || text.starts_with("[memory] the system has no ")));
    CHECK(Faults::open() == 0);
  }
}
