// A model does not know its device: a training step on the emulator, every kernel of it hone's own, gives the losses,
// gradients and weights of the processor, and occupies what was planned, to the byte.
#pragma once

#include "kernels/every_device.hpp"
#include "support/tiny_llama.hpp"

#include <hone/kernels/activation.cuh>
#include <hone/kernels/attention_backward.cuh>
#include <hone/kernels/attention_decode.cuh>
#include <hone/kernels/attention_forward.cuh>
#include <hone/kernels/bias.cuh>
#include <hone/kernels/columns.cuh>
#include <hone/kernels/cross_entropy.cuh>
#include <hone/kernels/dequantise.cuh>
#include <hone/kernels/dora.cuh>
#include <hone/kernels/dropout.cuh>
#include <hone/kernels/embedding.cuh>
#include <hone/kernels/fill_copy.cuh>
#include <hone/kernels/fill_random.cuh>
#include <hone/kernels/gradient_norm.cuh>
#include <hone/kernels/join_rows.cuh>
#include <hone/kernels/matmul.cuh>
#include <hone/kernels/optimizer.cuh>
#include <hone/kernels/optimizer_states.cuh>
#include <hone/kernels/qk_norm_rope.cuh>
#include <hone/kernels/rms_norm.cuh>
#include <hone/kernels/rope.cuh>
#include <hone/kernels/sum.cuh>
#include <hone/kernels/swiglu.cuh>

#include <hone/nn/init.hpp>
#include <hone/plan/planned_step.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <variant>

namespace hone::test {

inline constexpr std::int64_t tokens = 24;

/// Two layers, grouped queries. Heads of 64 take attention's tensor-core path, narrower ones the plain one.
inline LlamaConfig tiny(std::int64_t head_dim) {
  LlamaConfig config = tiny_llama();
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_attention_heads = 2;
  config.num_key_value_heads = 1;
  config.head_dim = head_dim;
  config.max_position_embeddings = 64;
  return config;
}

struct Setup {
  std::string name;
  LlamaConfig model;
  StepConfig step;
};

inline Setup llama(std::int64_t head_dim, const Method& method, const Policy& policy) {
  return {"llama", tiny(head_dim), {.method = method, .policy = policy}};
}
inline Setup qwen2(std::int64_t head_dim, const Method& method, const Policy& policy) {
  Setup out{"qwen2", tiny(head_dim), {.method = method, .policy = policy}};
  out.model.qkv_bias = true;
  out.model.tie_word_embeddings = true;
  return out;
}
inline Setup qwen3(std::int64_t head_dim, const Method& method, const Policy& policy) {
  Setup out{"qwen3", tiny(head_dim), {.method = method, .policy = policy}};
  out.model.qk_norm = true;
  return out;
}
inline const Method adapters = LoraTuning{{.r = 4, .alpha = 8, .dropout = 0.1}};

/// Three documents of 9, 10 and 5 tokens.
inline Batch batch_of(std::int32_t seed) {
  Batch out;
  for (const std::int32_t length : {9, 10, 5}) {
    Example example;
    for (std::int32_t i = 0; i < length; ++i) {
      example.ids.push_back((seed + 7 * i + 3 * length) % 50);
      example.supervised.push_back(i % 4 != 3);
    }
    out.add(example);
  }
  out.most_documents = out.document_count();
  return out;
}

using Named = std::vector<std::pair<std::string, std::vector<double>>>;

struct Trained {
  std::vector<double> losses, norms;
  Named gradients;            // of both steps
  std::vector<double> moved;  // every weight after them, less what it was
};

/// The gradient in whichever precision its slot keeps it.
template <class T, class D>
std::vector<double> gradient_of(const Tensor<T, D>& weight) {
  const auto& slot = *weight.slot();
  if constexpr (sizeof(T) < sizeof(float)) {
    if (slot.wide()) return doubles(slot.wide_value());
  }
  return doubles(slot.value());
}

template <class Model, class F>
Named collect(Model& model, F&& values_of) {
  Named out;
  for (const auto& parameter : model.trainable_parameters().items)
    out.emplace_back(parameter.name, std::visit(values_of, parameter.value));
  return out;
}

/// Two AdamW steps on two batches. `accumulate` and `evaluate` run a batch.
template <class T, class D, class Run>
Trained train(TrainingStep<T, D>& step, Run& run) {
  Trained out;
  const auto weights = [&] {
    std::vector<double> all;
    for (const auto& [name, values] : collect(step.model(), [](const auto& weight) { return doubles(weight); }))
      all.insert(all.end(), values.begin(), values.end());
    return all;
  };
  const std::vector<double> before = weights();
  for (std::int32_t i = 0; i < 2; ++i) {
    out.losses.push_back(run.accumulate(batch_of(i), static_cast<std::uint64_t>(i)));
    for (auto& gradient : collect(step.model(), [](const auto& weight) { return gradient_of(weight); }))
      out.gradients.push_back(std::move(gradient));
    const OptimizerReport report = step.update(1e-3);
    CHECK(!report.skipped);
    out.norms.push_back(report.grad_norm);
  }
  for (const double loss : run.evaluate(batch_of(2))) out.losses.push_back(loss);
  out.moved = weights();
  for (std::size_t i = 0; i < before.size(); ++i) out.moved[i] -= before[i];
  return out;
}

/// Every weight random, also biases and LoRA's B, which start at zero otherwise: there AdamW's first steps are the
/// signs of the gradients, and the rounding of a small one may turn them.
template <class T, class D>
void fill_base(Llama<T, D>& model) {
  initialise(model, 7, 0.1);
  model.visit([](const std::string& name, Tensor<T, D>& weight) {
    if (name.ends_with(".bias")) fill_normal(weight, 0.1, 8, stream_of(name));
  });
}
template <class T, class D>
void fill_adapters(Llama<T, D>& model) {
  model.visit_adapters([](const std::string& name, auto& weight) { fill_normal(weight, 0.1, 9, stream_of(name)); });
}

template <class T>
Trained train_on_cpu(const Setup& setup) {
  const Cpu cpu = poisoned_device<Cpu>();
  Llama<T, Cpu> model(setup.model, cpu);
  fill_base(model);
  TrainingStep<T, Cpu> step(model, setup.step);
  fill_adapters(model);
  return train(step, step);
}

template <class T>
Trained train_on_emu(const Setup& setup) {
  const Emu emu = poisoned_device<Emu>();
  const PlanConfig config{.model = setup.model,
                          .step = setup.step,
                          .batch_size = 1,
                          .max_length = tokens,
                          .batches = BatchSizes{{tokens}, {tokens}},
                          .most_documents = 3,
                          .max_new_tokens = 1};
  const Plan plan = plan_training<T>(config, emu.target());
  const Ledger& actual = emu.memory().ledger();
  reserve_slabs(plan, emu);
  Llama<T, Emu> model(setup.model, emu);
  fill_base(model);
  TrainingStep<T, Emu> step(model, setup.step);
  fill_adapters(model);
  CHECK(plan.phase("save")->peak_bytes == actual.device().now);
  PlannedStep<T, Emu> planned(plan, step);
  const Trained out = train(step, planned);
  CHECK(plan.peak_bytes == actual.device().peak);
  for (const Category category : all_categories) {
    CAPTURE(name_of(category));
    CHECK(plan.highest[index_of(category)] == actual.of(category).peak);
    CHECK((category == Category::activations || category == Category::workspace ||
           plan.resident[index_of(category)] == actual.of(category).now));
  }
  return out;
}

/// NMSE of every tensor at most `bound`.
inline void check_near(const Named& got, const Named& wanted, double bound) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CAPTURE(wanted[i].first);
    CHECK(got[i].first == wanted[i].first);
    CHECK(distance(got[i].second, wanted[i].second).nmse <= bound);
  }
}

template <class T>
void check_emu_is_cpu(const Setup& setup) {
  CAPTURE(setup.name);
  CAPTURE(setup.step.policy.name);
  constexpr bool half = std::is_same_v<T, bf16>;
  const Trained wanted = train_on_cpu<T>(setup), got = train_on_emu<T>(setup);
  CHECK(close(got.losses, wanted.losses, Shape{static_cast<std::int64_t>(wanted.losses.size())}, half ? 2e-2 : 1e-5,
              half ? 1e-2 : 1e-5, "loss"));
  CHECK(close(got.norms, wanted.norms, {2}, 0, half ? 2e-2 : 1e-5, "norm"));
  check_near(got.gradients, wanted.gradients, half ? 3e-3 : 1e-9);
  // AdamW's first steps are nearly the signs of gradients; the rounding of a small one may turn its sign.
  CHECK(distance(got.moved, wanted.moved).nmse <= (half ? 0.03 : 1e-5));
}

}  // namespace hone::test
