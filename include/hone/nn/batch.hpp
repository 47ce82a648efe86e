// Batches: documents laid end to end, with cumulative lengths between them; no row is padded to the longest.
#pragma once

#include <hone/core/checked.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace hone {

/// One training row: token ids, and for each whether predicting it counts. The first token is never predicted.
struct Example {
  std::vector<std::int32_t> ids;
  std::vector<bool> supervised;  ///< as long as ids

  std::int64_t supervised_tokens() const {
    return supervised.empty() ? 0 : std::count(supervised.begin() + 1, supervised.end(), true);
  }
};

/// Several documents on the host. Tokens are rounded up (a trailing document of padding that supervises nothing), so
/// that a run meets few distinct sizes and its memory can be planned.
struct Batch {
  std::vector<std::int32_t> ids, positions;  ///< (N)
  std::vector<std::int32_t> documents;       ///< cumulative lengths, 0 first, N last
  std::vector<std::int32_t> rows, targets;   ///< supervised: token rows[i] predicts targets[i]
  std::int64_t most_documents = 0;           ///< of any batch of the run, for memory; 0: as many as this one has
  std::int64_t virtual_tokens = 0;           ///< that stand before each document, or that its positions leave room for

  std::int64_t tokens() const { return static_cast<std::int64_t>(ids.size()); }
  std::int64_t supervised() const { return static_cast<std::int64_t>(rows.size()); }
  std::int64_t document_count() const {
    return documents.empty() ? 0 : static_cast<std::int64_t>(documents.size()) - 1;
  }

  /// No document; what was reserved is kept.
  void clear() {
    for (auto* column : {&ids, &positions, &documents, &rows, &targets}) column->clear();
  }
  /// Room for any batch of so many tokens.
  void reserve(std::int64_t tokens) {
    for (auto* column : {&ids, &positions, &documents, &rows, &targets})
      column->reserve(static_cast<std::size_t>(tokens) + 1);
  }

  void add(const Example& example) {
    check(example.ids.size() == example.supervised.size(), "[batch] an example of {} ids has {} supervision marks",
          example.ids.size(), example.supervised.size());
    if (documents.empty()) documents.push_back(0);
    for (std::size_t i = 0; i < example.ids.size(); ++i) {
      if (i > 0 && example.supervised[i]) {
        rows.push_back(static_cast<std::int32_t>(ids.size()) - 1);
        targets.push_back(example.ids[i]);
      }
      ids.push_back(example.ids[i]);
      positions.push_back(static_cast<std::int32_t>(i));
    }
    if (!example.ids.empty()) documents.push_back(static_cast<std::int32_t>(ids.size()));
  }

  /// Adds a document of zeros up to the next multiple.
  void pad_to_multiple(std::int64_t multiple) {
    const std::int64_t missing = round_up(tokens(), multiple) - tokens();
    if (missing == 0) return;
    if (documents.empty()) documents.push_back(0);
    for (std::int64_t i = 0; i < missing; ++i) {
      ids.push_back(0);
      positions.push_back(static_cast<std::int32_t>(i));
    }
    documents.push_back(static_cast<std::int32_t>(ids.size()));
  }
};

/// Batches are rounded up to this many tokens.
inline constexpr std::int64_t token_multiple = 64;

inline Batch make_batch(std::span<const Example> examples, std::int64_t multiple = token_multiple) {
  Batch batch;
  for (const Example& example : examples) batch.add(example);
  batch.pad_to_multiple(multiple);
  return batch;
}

/// A batch of N tokens with everything supervised: what a plan runs on, since its memory depends on N and on
/// `most_documents` alone. Documents of `length` tokens (0: one of N) say how much attention it computes; the last of
/// `most_documents` (0: any number) takes what is left.
inline Batch planning_batch(std::int64_t tokens, std::int64_t length = 0, std::int64_t most_documents = 0) {
  Batch batch;
  batch.ids.assign(static_cast<std::size_t>(tokens), 0);
  batch.positions = batch.ids;
  batch.rows = batch.ids;
  batch.targets = batch.ids;
  batch.most_documents = most_documents;
  const std::int64_t step = length > 0 ? length : std::max<std::int64_t>(tokens, 1);
  for (std::int64_t end = 0; end < tokens; end += step) {
    if (most_documents > 0 && static_cast<std::int64_t>(batch.documents.size()) == most_documents) break;
    batch.documents.push_back(static_cast<std::int32_t>(end));
  }
  batch.documents.push_back(static_cast<std::int32_t>(tokens));
  return batch;
}

}  // namespace hone
