// Every driver call of a training step fails once: a clear error, nothing left behind, and the step that is run again
// gives the bits of one that never failed.
#include "emu/lambda_kernel.hpp"
#include "kernels/every_device.hpp"
#include "kernels/faults.hpp"
#include "support/tiny_llama.hpp"

#include <hone/kernels.cuh>
#include <hone/step/training_step.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <vector>

using namespace hone;
using namespace hone::test;

namespace {

LlamaConfig one_layer() {
  LlamaConfig config = tiny_llama();
  config.vocab_size = config.hidden_size = config.intermediate_size = 16;
  config.num_hidden_layers = config.num_key_value_heads = 1;
  config.num_attention_heads = 2;
  config.tie_word_embeddings = true;
  return config;
}

Batch one_document() {
  Batch out;
  out.add({{1, 5, 3, 9, 2, 7}, std::vector<bool>(6, true)});
  return out;
}

/// A model with its step, and its weights on the host.
struct Run {
  Emu device;
  Llama<float, Emu> model{one_layer(), device};
  std::unique_ptr<TrainingStep<float, Emu>> step;

  Run() {
    initialise(model, 3);
    StepConfig config;
    config.method = FullTuning{};
    config.optimizer = AdamWOptions{.learning_rate = 0.01};
    step = std::make_unique<TrainingStep<float, Emu>>(model, config);
  }
  void train() {
    step->accumulate(one_document(), 0);
    step->update(0.01);
  }
  std::vector<double> weights() {
    std::vector<double> out;
    model.visit([&](const std::string&, const auto& weight) {
      for (const double value : doubles(weight)) out.push_back(value);
    });
    return out;
  }
};

bool is_clear(const std::string& text) {
  return text.starts_with("[memory] the system has no ") ||
         (text.starts_with("[cuda] ") && contains(text, " failed: a call that the test made fail (status 719)"));
}

}  // namespace

TEST_CASE("every driver call of a batch's forward and backward fails once, and the step begins anew") {
  std::vector<double> wanted;
  std::int64_t calls = 0;
  {
    Run run;
    const Faults counted(-1);  // from here on: the making of the model is done
    run.step->accumulate(one_document(), 0);
    calls = Faults::calls();
    run.step->update(0.01);
    wanted = run.weights();
  }
  CHECK(calls > 40);
  for (std::int64_t n = 0; n < calls; ++n) {
    CAPTURE(n);
    Run run;
    {
      const Faults failing(n, n % 2 == 0 ? 719 : 2);
      const auto text = error_of([&] { run.step->accumulate(one_document(), 0); });
      CAPTURE(text);
      CHECK((is_clear(text) || contains(text, "out of memory")));
    }
    const std::int64_t live = run.device.memory().ledger().of(Category::activations).now;
    CHECK(live == 0);
    CHECK(run.device.memory().ledger().of(Category::workspace).now == 0);
    run.train();
    CHECK(run.weights() == wanted);
  }
}

TEST_CASE("every driver call of making a model, a step and its update fails once, and nothing is left behind") {
  const auto whole_run = [] {
    Run run;
    run.train();
    run.weights();
  };
  std::int64_t calls = 0;
  {
    const Faults counted(-1);
    whole_run();
    calls = Faults::calls();
    CHECK(Faults::open() == 0);
  }
  for (std::int64_t n = 0; n < calls; n += 7) {  // every seventh: the batch's own calls are walked above
    CAPTURE(n);
    const Faults failing(n);
    const auto text = error_of(whole_run);
    CAPTURE(text);
    CHECK(is_clear(text));
    CHECK(Faults::open() == 0);
  }
}
