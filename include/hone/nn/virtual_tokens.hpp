// Batches for models with virtual tokens, which stand before the tokens of every document.
#pragma once

#include <hone/nn/batch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hone {

/// `batch` with `count` virtual tokens before every document, as ids -1, ..., -count: they take the first positions and
/// supervise nothing. Its tokens leave room for most_documents, so that their number follows from the batch's own.
inline Batch with_virtual_tokens(const Batch& batch, std::int64_t count, std::int64_t multiple = token_multiple) {
  Batch out;
  std::vector<std::int32_t> place(batch.ids.size());
  out.documents.push_back(0);
  for (std::int64_t d = 0; d < batch.document_count(); ++d) {
    const auto at = static_cast<std::size_t>(d);
    for (std::int64_t v = 0; v < count; ++v) out.ids.push_back(static_cast<std::int32_t>(-1 - v));
    for (std::int32_t i = batch.documents[at]; i < batch.documents[at + 1]; ++i) {
      place[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(out.ids.size());
      out.ids.push_back(batch.ids[static_cast<std::size_t>(i)]);
    }
    out.documents.push_back(static_cast<std::int32_t>(out.ids.size()));
  }
  // What is left is one more document, which begins with its virtual tokens like any other, or the end of the last.
  const std::int64_t most = std::max(batch.most_documents, batch.document_count());
  const std::int64_t total = round_up(batch.tokens() + most * count, multiple);
  const bool another = total - out.tokens() >= count || batch.document_count() == 0;
  for (std::int64_t v = 0; out.tokens() < total; ++v)
    out.ids.push_back(another && v < count ? static_cast<std::int32_t>(-1 - v) : 0);
  if (!another) out.documents.pop_back();
  if (out.documents.back() != total) out.documents.push_back(static_cast<std::int32_t>(total));
  for (std::size_t d = 0; d + 1 < out.documents.size(); ++d)
    for (std::int32_t i = out.documents[d]; i < out.documents[d + 1]; ++i)
      out.positions.push_back(i - out.documents[d]);
  for (const std::int32_t row : batch.rows) out.rows.push_back(place[static_cast<std::size_t>(row)]);
  out.targets = batch.targets;
  out.most_documents = batch.most_documents;
  out.virtual_tokens = count;
  return out;
}

/// `batch` whose positions begin behind `count` virtual tokens that are in no batch: keys and values.
inline Batch behind_virtual_tokens(const Batch& batch, std::int64_t count) {
  Batch out = batch;
  for (std::int32_t& position : out.positions) position += static_cast<std::int32_t>(count);
  out.virtual_tokens = count;
  return out;
}

/// Where the `tokens` tokens of a batch came to in what with_virtual_tokens() made of it.
inline std::vector<std::int32_t> own_rows(const Batch& batch, std::int64_t tokens) {
  std::vector<std::int32_t> out;
  for (std::size_t row = 0; row < batch.ids.size() && static_cast<std::int64_t>(out.size()) < tokens; ++row)
    if (batch.ids[row] >= 0) out.push_back(static_cast<std::int32_t>(row));
  return out;
}

}  // namespace hone
