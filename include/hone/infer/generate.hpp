// Generation: the prompt in one pass, then a token at a time behind a KV cache.
#pragma once

#include <hone/core/function_ref.hpp>
#include <hone/infer/sampler.hpp>
#include <hone/models/llama.hpp>
#include <hone/ops/sample.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace hone {

struct GenerateOptions {
  SamplingOptions sampling = {};
  std::int64_t max_new_tokens = 256;
  std::vector<std::int32_t> stop_ids = {};  ///< generation ends before any of them
};

namespace detail {

/// The loop of a generation. `begin(capacity)` makes what holds a sequence of that many tokens, and gives
/// next(ids): the logits (1, vocab_size) behind `ids`, which follow those it was given before.
template <class Model, class Begin>
std::vector<std::int32_t> generate_with(const Model& model, std::span<const std::int32_t> prompt,
                                        const GenerateOptions& options, FunctionRef<bool(std::int32_t)> on_token,
                                        Begin&& begin) {
  const std::int64_t context = model.config().max_position_embeddings,
                     length = static_cast<std::int64_t>(prompt.size());
  check(length >= 1, "[generate] the prompt has no token");
  check(length <= context, "[generate] the prompt has {} tokens, the model's context is {}", length, context);
  check(options.max_new_tokens >= 0, "max_new_tokens: {} must not be negative", options.max_new_tokens);
  const std::int64_t wanted = std::min(options.max_new_tokens, context - length);
  const SamplingRule rule = options.sampling.rule();
  std::vector<std::int32_t> tokens(prompt.begin(), prompt.end());
  if (wanted == 0) return {};
  TokenChoice<typename Model::DeviceType> choice(model.device(), model.config().vocab_size, rule, prompt);
  auto next = begin(length + wanted);
  auto logits = next(prompt);
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int32_t id = choice.next(logits);
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end()) break;
    tokens.push_back(id);
    if (!on_token(id) || i + 1 == wanted) break;
    logits = next(std::span<const std::int32_t>(&tokens.back(), 1));
  }
  return {tokens.begin() + length, tokens.end()};
}

}  // namespace detail

/// Continues `prompt` and returns the new tokens, without the stop token. `on_token` sees each as it is chosen and ends
/// the generation by returning false. Ends at the model's context too. An Error when the prompt is empty or longer than
/// the context, or holds an id the model has no row for.
template <class T, Device D>
std::vector<std::int32_t> generate(const Llama<T, D>& model, std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options, FunctionRef<bool(std::int32_t)> on_token) {
  return detail::generate_with(model, prompt, options, on_token, [&](std::int64_t capacity) {
    return [&model, cache = model.make_cache(capacity)](std::span<const std::int32_t> ids) mutable {
      return model.logits(ids, cache);
    };
  });
}

/// The same without looking on.
template <class T, Device D>
std::vector<std::int32_t> generate(const Llama<T, D>& model, std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options) {
  return generate(model, prompt, options, [](std::int32_t) { return true; });
}

}  // namespace hone
