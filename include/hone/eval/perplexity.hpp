// Likelihood of plain text: windows of the context with a stride of half of it, every token scored once.
#pragma once

#include <hone/eval/documents.hpp>
#include <hone/models/llama.hpp>
#include <hone/text/tokenizer.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace hone {

namespace detail {

/// The windows of a document: each scores what the ones before it did not. Window w begins at w * context / 2.
inline std::vector<Example> windows(const std::vector<std::int32_t>& ids, std::int64_t context) {
  const auto length = static_cast<std::int64_t>(ids.size()), stride = std::max<std::int64_t>(1, context / 2);
  std::vector<Example> out;
  for (std::int64_t begin = 0, scored = 1; scored < length; begin += stride) {
    const std::int64_t end = std::min(length, begin + context);
    Example window;
    window.ids.assign(ids.begin() + begin, ids.begin() + end);
    for (std::int64_t i = begin; i < end; ++i) window.supervised.push_back(i >= scored);
    out.push_back(std::move(window));
    scored = end;
  }
  return out;
}

/// Batches of at most `limit` tokens (or one window), in order.
template <class Visit>
void for_batches(const std::vector<Example>& examples, std::int64_t limit, const Visit& visit) {
  std::size_t begin = 0;
  while (begin < examples.size()) {
    std::size_t end = begin;
    std::int64_t tokens = 0;
    while (end < examples.size() &&
           (end == begin || tokens + static_cast<std::int64_t>(examples[end].ids.size()) <= limit))
      tokens += static_cast<std::int64_t>(examples[end++].ids.size());
    visit(begin, end);
    begin = end;
  }
}

}  // namespace detail

/// Likelihood of the supervised tokens of each example, where `losses_of(batch)` gives those of a batch in order.
template <class LossesOf>
std::vector<DocumentLikelihood> likelihoods_by(const LossesOf& losses_of, const std::vector<Example>& examples) {
  constexpr std::int64_t batch_tokens = 4096;
  std::vector<DocumentLikelihood> out(examples.size());
  detail::for_batches(examples, batch_tokens, [&](std::size_t begin, std::size_t end) {
    const auto losses = losses_of(make_batch(std::span<const Example>(examples.data() + begin, end - begin)));
    std::size_t at = 0;
    for (std::size_t i = begin; i < end; ++i) {
      out[i].tokens = examples[i].supervised_tokens();
      for (std::int64_t token = 0; token < out[i].tokens; ++token) out[i].nll += losses[at++];
    }
  });
  return out;
}

/// The same of each document: BOS + text, no EOS scored. `context` tokens at most are seen at once.
template <class LossesOf>
std::vector<DocumentLikelihood> likelihoods_by(const LossesOf& losses_of, const Tokenizer& tokenizer,
                                               const std::vector<std::string>& documents, std::int64_t context) {
  check(context >= 2, "[eval] a context of {} tokens scores nothing; at least 2 are needed", context);
  std::vector<Example> examples;
  std::vector<std::size_t> document_of;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    for (Example& window : detail::windows(tokenizer.encode_with_bos(documents[i], false), context)) {
      examples.push_back(std::move(window));
      document_of.push_back(i);
    }
  }
  const auto parts = likelihoods_by(losses_of, examples);
  std::vector<DocumentLikelihood> out(documents.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    out[document_of[i]].nll += parts[i].nll;
    out[document_of[i]].tokens += parts[i].tokens;
  }
  return out;
}

/// Likelihood of the supervised tokens of each example under the model.
template <class T, Device D>
std::vector<DocumentLikelihood> likelihoods(const Llama<T, D>& model, const std::vector<Example>& examples) {
  return likelihoods_by([&](const Batch& batch) { return model.token_losses(batch); }, examples);
}

/// Likelihood of each document under the model; see likelihoods_by().
template <class T, Device D>
std::vector<DocumentLikelihood> likelihoods(const Llama<T, D>& model, const Tokenizer& tokenizer,
                                            const std::vector<std::string>& documents, std::int64_t context) {
  return likelihoods_by([&](const Batch& batch) { return model.token_losses(batch); }, tokenizer, documents, context);
}

}  // namespace hone
