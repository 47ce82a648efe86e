// How attention on the CPU is cut: documents, tiles, the band each tile sees, and the scratch of a worker. Sizes follow
// from shapes alone; tiles are aligned to their document, so that a document's results do not depend on its neighbours.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/target.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/tensor/attention_shape.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace hone::cpu {

inline constexpr std::int64_t tile_keys = 64;
inline constexpr std::int64_t tile_queries = 64;

/// The tiles of one attention shape.
struct AttentionTiles {
  std::int64_t group;   ///< query heads that share a key head
  std::int64_t tokens;  ///< tokens of a query tile whose rows are (token, head of the group)
  std::int64_t rows;    ///< rows of that tile, padded
  std::int64_t dim;     ///< head_dim, padded

  explicit AttentionTiles(const AttentionShape& shape)
      : group(std::max<std::int64_t>(1, shape.heads / std::max<std::int64_t>(1, shape.kv_heads))),
        tokens(std::max<std::int64_t>(1, tile_queries / group)),
        rows(round_up(tokens * group, 16)),
        dim(round_up(shape.head_dim, 16)) {}

  /// Elements of scratch a worker needs, the larger of the three passes (see the passes' own constructors).
  std::int64_t forward_elements() const { return rows * (2 * dim + tile_keys + 3) + 2 * tile_keys * dim; }
  std::int64_t keys_elements() const { return 2 * tile_queries * (dim + tile_keys) + 4 * tile_keys * dim; }
  std::int64_t queries_elements() const { return rows * (3 * dim + 2 * tile_keys + 2) + 2 * tile_keys * dim; }
};

/// One document: its queries and keys in the packed rows.
struct Document {
  std::int64_t query_begin, queries, key_begin, keys;
  std::int64_t shift() const { return keys - queries; }
};

/// A range of positions.
struct Range {
  std::int64_t first, last;
  bool empty() const { return first >= last; }
};

inline Range clip(Range range, std::int64_t first, std::int64_t last) {
  return {std::clamp(range.first, first, last), std::clamp(range.last, first, last)};
}

/// Keys that query i of a document sees, before clipping to [0, keys).
inline Range keys_seen(const AttentionShape& shape, const Document& document, std::int64_t query) {
  const std::int64_t last = document.shift() + query + 1;
  return {shape.window > 0 ? last - shape.window : 0, last};
}

/// Queries that see key j of a document, before clipping to [0, queries).
inline Range queries_seeing(const AttentionShape& shape, const Document& document, std::int64_t key) {
  const std::int64_t first = key - document.shift();
  return {first, shape.window > 0 ? first + shape.window : document.queries};
}

/// The cumulative lengths of queries and keys, checked.
class Documents {
 public:
  Documents(View<const std::int32_t, 1> cu_queries, View<const std::int32_t, 1> cu_keys, std::int64_t queries,
            std::int64_t keys)
      : queries_(packed_data("attention cu_q", cu_queries)), keys_(packed_data("attention cu_k", cu_keys)) {
    count_ = cu_queries.extent(0) - 1;
    check(count_ >= 0 && cu_keys.extent(0) == count_ + 1,
          "[attention] cu_q and cu_k have {} and {} entries, wanted the same number, at least 1", cu_queries.extent(0),
          cu_keys.extent(0));
    check(queries_[0] == 0 && keys_[0] == 0 && queries_[count_] == queries && keys_[count_] == keys,
          "[attention] cumulative lengths run from {} to {} and {} to {}, wanted 0 to {} queries and 0 to {} keys",
          queries_[0], queries_[count_], keys_[0], keys_[count_], queries, keys);
    for (std::int64_t d = 0; d < count_; ++d) {
      const Document document = (*this)[d];
      check(document.queries >= 0 && document.keys >= document.queries,
            "[attention] document {} has {} queries and {} keys, wanted at least as many keys as queries", d,
            document.queries, document.keys);
    }
  }

  Document operator[](std::int64_t index) const {
    return {queries_[index], queries_[index + 1] - queries_[index], keys_[index], keys_[index + 1] - keys_[index]};
  }

  /// Calls body(document, first, last) for every document with queries among packed rows [begin, end), first and last
  /// counted within the document.
  template <class F>
  void for_queries(std::int64_t begin, std::int64_t end, F&& body) const {
    for (std::int64_t d = find(queries_, begin); begin < end; ++d) {
      const Document document = (*this)[d];
      const std::int64_t last = std::min(end, document.query_begin + document.queries);
      if (begin < last) body(document, begin - document.query_begin, last - document.query_begin);
      begin = last;
    }
  }

  /// The same over keys.
  template <class F>
  void for_keys(std::int64_t begin, std::int64_t end, F&& body) const {
    for (std::int64_t d = find(keys_, begin); begin < end; ++d) {
      const Document document = (*this)[d];
      const std::int64_t last = std::min(end, document.key_begin + document.keys);
      if (begin < last) body(document, begin - document.key_begin, last - document.key_begin);
      begin = last;
    }
  }

 private:
  /// The document that holds packed row `row`.
  std::int64_t find(const std::int32_t* cumulative, std::int64_t row) const {
    return std::upper_bound(cumulative, cumulative + count_ + 1, row) - cumulative - 1;
  }

  const std::int32_t* queries_;
  const std::int32_t* keys_;
  std::int64_t count_ = 0;
};

/// Hands out consecutive pieces of a worker's scratch.
template <class S>
class Scratch {
 public:
  explicit Scratch(S* begin) : next_(begin) {}
  S* take(std::int64_t elements) { return std::exchange(next_, next_ + elements); }

 private:
  S* next_;
};

}  // namespace hone::cpu

namespace hone {

/// Bytes of scratch AttentionForward takes.
inline std::int64_t attention_forward_workspace_bytes(const Target& target, const AttentionShape& shape, std::int64_t) {
  return target.threads * cpu::AttentionTiles(shape).forward_elements() * static_cast<std::int64_t>(sizeof(double));
}

/// Bytes of scratch AttentionBackward takes: the workers' tiles, and dout * out summed over each head, (heads, nq).
inline std::int64_t attention_backward_workspace_bytes(const Target& target, const AttentionShape& shape,
                                                       std::int64_t nq) {
  const cpu::AttentionTiles tiles(shape);
  const std::int64_t worker = std::max(tiles.keys_elements(), tiles.queries_elements());
  return (target.threads * worker + round_up(shape.heads * nq, 16)) * static_cast<std::int64_t>(sizeof(double));
}

}  // namespace hone
