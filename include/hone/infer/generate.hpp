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

/// Continues `prompt` and returns the new tokens, without the stop token. `on_token` sees each as it is chosen and ends
/// the generation by returning false. Ends at the model's context too. An Error when the prompt is empty or longer than
/// the context, or holds an id the model has no row for.
template <class T, Device D>
std::vector<std::int32_t> generate(const Llama<T, D>& model, std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options, FunctionRef<bool(std::int32_t)> on_token) {
  const std::int64_t context = model.config().max_position_embeddings,
                     length = static_cast<std::int64_t>(prompt.size());
  check(length >= 1, "[generate] the prompt has no token");
  check(length <= context, "[generate] the prompt has {} tokens, the model's context is {}", length, context);
  check(options.max_new_tokens >= 0, "max_new_tokens: {} must not be negative", options.max_new_tokens);
  const std::int64_t wanted = std::min(options.max_new_tokens, context - length);
  const SamplingRule rule = options.sampling.rule();
  std::vector<std::int32_t> tokens(prompt.begin(), prompt.end());
  if (wanted == 0) return {};
  TokenChoice<D> choice(model.device(), model.config().vocab_size, rule, prompt);
  auto cache = model.make_cache(length + wanted);
  auto logits = model.logits(prompt, cache);
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int32_t id = choice.next(logits);
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end()) break;
    tokens.push_back(id);
    if (!on_token(id) || i + 1 == wanted) break;
    logits = model.logits(std::span<const std::int32_t>(&tokens.back(), 1), cache);
  }
  return {tokens.begin() + length, tokens.end()};
}

/// The same without looking on.
template <class T, Device D>
std::vector<std::int32_t> generate(const Llama<T, D>& model, std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options) {
  return generate(model, prompt, options, [](std::int32_t) { return true; });
}

}  // namespace hone
