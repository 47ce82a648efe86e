// Generation with what a run trained: its memory and its work, from the model's own pass on Meta.
#pragma once

#include <hone/memory/replay.hpp>
#include <hone/ops/sample.hpp>
#include <hone/plan/phase.hpp>
#include <hone/plan/plan_config.hpp>

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace hone {

namespace detail {

/// A model as `hone generate` holds it, without memory: adapters attached, nothing trainable.
template <class T>
Llama<T, Meta> model_for_generation(const PlanConfig& config, const Meta& meta) {
  Llama<T, Meta> model(config.model, meta);
  prepare_methods(model, config.step);
  freeze_all(model);
  return model;
}

}  // namespace detail

/// The memory of a generation of max_length tokens: prompt_length(config) in one pass, the rest one after the other.
template <class T>
Phase plan_generation(const PlanConfig& config, const Target& target) {
  const Meta meta(target);
  const auto model = detail::model_for_generation<T>(config, meta);
  auto cache = model.make_cache(config.max_length);
  const auto resident = resident_buffers(meta.memory().ledger());
  const std::vector<std::int32_t> prompt(static_cast<std::size_t>(prompt_length(config)), 0);
  Recording recording(meta.memory());
  TokenChoice<Meta> choice(meta, config.model.vocab_size, {}, prompt);
  auto logits = model.logits(prompt, cache);
  choice.choose(logits);
  // Each new token but the last is run behind those before it, while the logits it was chosen from are still held.
  if (cache.length() + 1 < cache.capacity()) {
    logits = model.logits(std::span(prompt).first(1), cache);
    choice.choose(logits);
  }
  logits = {};
  return describe_phase("generate", resident, recording.finish());
}

/// What one request computes and moves.
struct GenerationWork {
  Meta::Work prompt = {};  ///< the prompt's pass
  Meta::Work token = {};   ///< a new token, half way through
  std::int64_t new_tokens = 0;
  std::int64_t cache_bytes = 0;  ///< keys and values of the whole sequence
};

/// generation_work() of a model that computes in T.
template <class T>
GenerationWork work_of_generation(const PlanConfig& config, const Target& target, std::int64_t prompt_tokens,
                                  std::int64_t new_tokens) {
  check(prompt_tokens >= 1 && new_tokens >= 0, "[plan] a request needs a prompt; {} and {} tokens were given",
        prompt_tokens, new_tokens);
  const Meta meta(target);
  const auto model = detail::model_for_generation<T>(config, meta);
  auto cache = model.make_cache(prompt_tokens + new_tokens);
  GenerationWork out{.new_tokens = new_tokens, .cache_bytes = meta.memory().ledger().of(Category::kv_cache).now};
  const auto pass = [&](std::int64_t tokens) {
    const std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens), 0);
    meta.work() = {};
    model.logits(ids, cache);
    return meta.work();
  };
  out.prompt = pass(prompt_tokens);
  if (new_tokens > 1) {
    cache.advance(new_tokens / 2 - 1);
    out.token = pass(1);
  }
  return out;
}

/// The work of a request of `prompt_tokens` that is answered with `new_tokens`, one sequence at a time. The first new
/// token comes of the prompt's pass, so there are new_tokens - 1 more.
inline GenerationWork generation_work(const PlanConfig& config, const Target& target, std::int64_t prompt_tokens,
                                      std::int64_t new_tokens) {
  return detail::with_compute_type(
      config.step.policy, [&]<class T>() { return work_of_generation<T>(config, target, prompt_tokens, new_tokens); });
}

}  // namespace hone
