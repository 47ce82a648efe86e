// Batches on a device: what a model's forward pass takes. All of a batch lies in one buffer, whose size the number of
// tokens alone decides: on a card it comes in one copy, and at the same place whenever a plan is replayed.
#pragma once

#include <hone/core/draw_seed.hpp>
#include <hone/nn/batch.hpp>
#include <hone/ops/lm_head_cross_entropy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace hone {

/// A batch on a device.
template <Device D>
struct DeviceBatch {
  Tensor<std::int32_t, D> ids, positions;  // (N)
  Tensor<std::int32_t, D> documents;       // (documents + 1), on a card (N + 1): the rest are empty documents at N
  Supervision<D> supervision;
  std::int64_t supervised = 0;  ///< tokens that are predicted; on a card supervision holds ignored ones behind them
  DrawSeed seed;                ///< of its dropout: the place where upload() was told to put it

  std::int64_t document_count = 0;  ///< those that are not empty
  std::int64_t most_documents = 0;  ///< see Batch
  std::int64_t virtual_tokens = 0;

  std::int64_t tokens() const { return ids.extent(0); }
};

/// Where the parts of a batch of `tokens` lie in its buffer, in words of 4 bytes.
struct BatchLayout {
  std::int64_t tokens = 0;

  std::int64_t ids() const { return 0; }
  std::int64_t positions() const { return tokens; }
  std::int64_t rows() const { return 2 * tokens; }
  std::int64_t targets() const { return 3 * tokens; }
  std::int64_t documents() const { return 4 * tokens; }
  std::int64_t seed() const { return round_up(5 * tokens + 1, 2); }  // two words, aligned to 8 bytes
  std::int64_t words() const { return seed() + 2; }
};

/// Supervised tokens a card computes for a batch that has `supervised`: rounded up to an eighth of the batch, so that
/// batches of one size come in at most nine shapes, and what is computed in vain stays below an eighth.
inline std::int64_t padded_supervision(std::int64_t supervised, std::int64_t tokens) {
  if (supervised == 0) return 0;
  return std::min(tokens, round_up(supervised, round_up(ceil_div(tokens, 8), token_multiple)));
}

/// Writes a batch as a card takes it, with `seed` behind it: shapes follow from its tokens and its padded supervision
/// alone. What pads the supervision are the tokens that are not supervised, each once; their targets are ignored.
inline void write_padded(const Batch& batch, std::uint64_t seed, std::int32_t* words) {
  const BatchLayout layout{batch.tokens()};
  const auto copy = [&](const std::vector<std::int32_t>& values, std::int64_t begin) {
    return std::copy(values.begin(), values.end(), words + begin);
  };
  copy(batch.ids, layout.ids());
  copy(batch.positions, layout.positions());
  std::int32_t* row = copy(batch.rows, layout.rows());
  std::fill(copy(batch.targets, layout.targets()), words + layout.documents(), ignored_target);
  std::fill(copy(batch.documents, layout.documents()), words + layout.seed(),
            static_cast<std::int32_t>(batch.tokens()));
  std::int32_t token = 0;
  for (const std::int32_t supervised : batch.rows) {  // ascending
    for (; token < supervised && row != words + layout.targets(); ++token) *row++ = token;
    token = supervised + 1;
  }
  for (; row != words + layout.targets(); ++token)
    *row++ = std::min(token, static_cast<std::int32_t>(batch.tokens()) - 1);
  std::memcpy(words + layout.seed(), &seed, sizeof(seed));
}

namespace detail {

template <Device D>
DeviceBatch<D> parts_of(const Batch& batch, const Tensor<std::int32_t, D>& buffer) {
  const BatchLayout layout{batch.tokens()};
  const std::int64_t tokens = layout.tokens;
  check(batch.positions.size() == batch.ids.size() && batch.documents.size() <= batch.ids.size() + 1 &&
            batch.rows.size() <= batch.ids.size() && batch.targets.size() == batch.rows.size(),
        "[batch] {} tokens with {} positions, {} ends of documents, {} supervised rows and {} targets", tokens,
        batch.positions.size(), batch.documents.size(), batch.rows.size(), batch.targets.size());
  DeviceBatch<D> out;
  out.document_count = batch.document_count();
  out.most_documents = batch.most_documents;
  out.virtual_tokens = batch.virtual_tokens;
  out.ids = buffer.rows(layout.ids(), tokens);
  out.positions = buffer.rows(layout.positions(), tokens);
  out.documents =
      buffer.rows(layout.documents(), Copying<D> ? tokens + 1 : static_cast<std::int64_t>(batch.documents.size()));
  out.supervised = batch.supervised();
  out.supervision = {buffer.rows(layout.rows(), tokens), buffer.rows(layout.targets(), tokens),
                     Copying<D> ? padded_supervision(out.supervised, tokens) : out.supervised};
  return out;
}

template <Device D>
Tensor<std::int32_t, D> batch_buffer(const D& device, std::int64_t tokens) {
  return Tensor<std::int32_t, D>::empty(device, {BatchLayout{tokens}.words()}, {Category::activations, "batch"});
}

}  // namespace detail

/// Moves a batch to a device.
template <Device D>
DeviceBatch<D> upload(const Batch& batch, const D& device) {
  const auto buffer = detail::batch_buffer(device, batch.tokens());
  auto out = detail::parts_of(batch, buffer);
  if constexpr (Copying<D>) {
    std::vector<std::int32_t> words(static_cast<std::size_t>(buffer.elements()));
    write_padded(batch, 0, words.data());
    buffer.copy_from(words);
  } else {
    const auto copy = [](const Tensor<std::int32_t, D>& part, const std::vector<std::int32_t>& values) {
      part.rows(0, static_cast<std::int64_t>(values.size())).copy_from(values);
    };
    copy(out.ids, batch.ids);
    copy(out.positions, batch.positions);
    copy(out.documents, batch.documents);
    copy(out.supervision.rows, batch.rows);
    copy(out.supervision.targets, batch.targets);
  }
  return out;
}

/// The same for a card, with the seed of the batch's dropout, through pinned memory: `send(to, bytes)` copies what
/// write_padded wrote. Nothing waits for the card.
template <Device D, class Send>
DeviceBatch<D> upload(const Batch& batch, const D& device, const Send& send) {
  const auto buffer = detail::batch_buffer(device, batch.tokens());
  auto out = detail::parts_of(batch, buffer);
  send(buffer.data(), static_cast<std::size_t>(buffer.bytes()));
  out.seed =
      DrawSeed::found_at(reinterpret_cast<const std::uint64_t*>(buffer.data() + BatchLayout{batch.tokens()}.seed()));
  return out;
}

}  // namespace hone
