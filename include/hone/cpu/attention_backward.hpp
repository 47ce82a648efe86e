// The two passes of attention's backward, by tile of keys and by tile of queries. Equations: cpu/attention.hpp.
#pragma once

#include <hone/cpu/attention_plan.hpp>
#include <hone/cpu/attention_tiles.hpp>

namespace hone::cpu {

/// Sets to `value` what lies outside the band in a transposed tile (keys, rows); rows are (query, head of the group).
template <class S>
void mask_transposed(const AttentionShape& shape, const Document& document, Range queries, Range keys,
                     std::int64_t group, S* tile, std::int64_t stride, std::int64_t padded, S value) {
  const bool whole = keys_seen(shape, document, queries.first).last >= keys.last &&
                     keys_seen(shape, document, queries.last - 1).first <= keys.first;
  if (whole) return;
  for (std::int64_t key = keys.first; key < keys.last; ++key, tile += stride) {
    const Range seen = clip(queries_seeing(shape, document, key), queries.first, queries.last);
    std::fill(tile, tile + (seen.first - queries.first) * group, value);
    std::fill(tile + (seen.last - queries.first) * group, tile + padded, value);
  }
}

/// The same for a tile (queries, keys) of one head.
template <class S>
void mask_plain(const AttentionShape& shape, const Document& document, Range queries, Range keys, S* tile,
                std::int64_t stride, std::int64_t padded, S value) {
  for (std::int64_t query = queries.first; query < queries.last; ++query, tile += stride) {
    const Range seen = clip(keys_seen(shape, document, query), keys.first, keys.last);
    std::fill(tile, tile + (seen.first - keys.first), value);
    std::fill(tile + (seen.last - keys.first), tile + padded, value);
  }
}

template <class T>
struct AttentionBackwardPass {
  using S = Accumulator<T>;

  const AttentionShape& shape;
  const AttentionTiles tiles;
  const TilePaths<T> paths;
  const Documents documents;
  View<const T, 2> dout, q, k, v;
  View<const S, 2> lse;  // (heads, Nq)
  const S* delta;        // (heads, Nq)
  View<T, 2> dq, dk, dv;
  bool accumulate;

  std::int64_t worker_elements() const { return std::max(tiles.keys_elements(), tiles.queries_elements()); }

  // ---- dK and dV: a task is a key head and a tile of keys; query tiles pass by, one head after the other
  // -------------

  struct KeysTile {
    S *keys, *values, *dkeys, *dvalues, *queries, *douts, *scores, *gradient;
    KeysTile(const AttentionTiles& t, S* begin) {
      Scratch<S> scratch(begin);
      keys = scratch.take(t.dim * tile_keys);    // (dim, keys), scaled
      values = scratch.take(t.dim * tile_keys);  // (dim, keys)
      dkeys = scratch.take(tile_keys * t.dim);
      dvalues = scratch.take(tile_keys * t.dim);
      queries = scratch.take(tile_queries * t.dim);
      douts = scratch.take(tile_queries * t.dim);
      scores = scratch.take(tile_queries * tile_keys);  // (queries, keys), then p
      gradient = scratch.take(tile_queries * tile_keys);
    }
  };

  void run_keys(Cpu& device, S* scratch) const {
    const std::int64_t blocks = ceil_div(k.rows(), tile_keys);
    device.pool().run(blocks * shape.kv_heads, [&](std::int64_t task, int worker) {
      const std::int64_t block = task / shape.kv_heads, kv_head = task % shape.kv_heads;
      const KeysTile tile(tiles, scratch + worker * worker_elements());
      documents.for_keys(block * tile_keys, std::min(k.rows(), (block + 1) * tile_keys),
                         [&](const Document& document, std::int64_t first, std::int64_t last) {
                           keys_piece(document, kv_head, {first, last}, tile);
                         });
    });
  }

  void keys_piece(const Document& document, std::int64_t kv_head, Range keys, const KeysTile& tile) const {
    const std::int64_t count = keys.last - keys.first, padded = round_up(count, tile_lanes), hd = shape.head_dim;
    const std::int64_t row = document.key_begin + keys.first;
    paths.load_transposed(k.row(row) + kv_head * hd, k.stride, 1, 0, count, hd, padded, static_cast<S>(shape.scale),
                          tile.keys, tile_keys);
    paths.load_transposed(v.row(row) + kv_head * hd, v.stride, 1, 0, count, hd, padded, S{1}, tile.values, tile_keys);
    std::fill_n(tile.dkeys, count * tiles.dim, S{0});
    std::fill_n(tile.dvalues, count * tiles.dim, S{0});
    const Range seen =
        clip({queries_seeing(shape, document, keys.first).first, queries_seeing(shape, document, keys.last - 1).last},
             0, document.queries);
    for (std::int64_t head = kv_head * tiles.group; head < (kv_head + 1) * tiles.group; ++head)
      for (std::int64_t query = seen.first / tile_queries * tile_queries; query < seen.last; query += tile_queries)
        add_queries(document, head, {std::max(query, seen.first), std::min(query + tile_queries, seen.last)}, keys,
                    tile);
    for (std::int64_t i = 0; i < count; ++i) {
      if (wanted(dk))
        paths.store_row(tile.dkeys + i * tiles.dim, hd, static_cast<S>(shape.scale), dk.row(row + i) + kv_head * hd,
                        accumulate);
      if (wanted(dv))
        paths.store_row(tile.dvalues + i * tiles.dim, hd, S{1}, dv.row(row + i) + kv_head * hd, accumulate);
    }
  }

  /// dkeys and dvalues += what queries [first, last) of one head contribute.
  void add_queries(const Document& document, std::int64_t head, Range queries, Range keys, const KeysTile& tile) const {
    const std::int64_t rows = queries.last - queries.first, count = keys.last - keys.first;
    const std::int64_t padded = round_up(count, tile_lanes), hd = shape.head_dim, dim = tiles.dim;
    const std::int64_t row = document.query_begin + queries.first;
    paths.load(q.row(row) + head * hd, q.stride, rows, hd, dim, tile.queries, dim);
    paths.load(dout.row(row) + head * hd, dout.stride, rows, hd, dim, tile.douts, dim);
    paths.matmul({tile.queries, dim, 1, tile.keys, tile_keys, tile.scores, tile_keys, rows, padded, hd, false});
    paths.matmul({tile.douts, dim, 1, tile.values, tile_keys, tile.gradient, tile_keys, rows, padded, hd, false});
    paths.gradient_by_line(tile.scores, tile.gradient, tile_keys, rows, padded, lse.row(head) + row,
                           delta + head * q.rows() + row);
    mask_plain(shape, document, queries, keys, tile.scores, tile_keys, padded, S{0});
    mask_plain(shape, document, queries, keys, tile.gradient, tile_keys, padded, S{0});
    if (wanted(dv))
      paths.matmul({tile.scores, 1, tile_keys, tile.douts, dim, tile.dvalues, dim, count, dim, rows, true});
    if (wanted(dk))
      paths.matmul({tile.gradient, 1, tile_keys, tile.queries, dim, tile.dkeys, dim, count, dim, rows, true});
  }

  // ---- dQ: a task is a key head and a tile of tokens, as in the forward pass; key tiles pass by
  // ----------------------

  struct QueriesTile {
    S *queries, *douts, *dqueries, *scores, *gradient, *lse, *delta, *keys, *values;
    QueriesTile(const AttentionTiles& t, S* begin) {
      Scratch<S> scratch(begin);
      queries = scratch.take(t.dim * t.rows);     // (dim, rows), scaled
      douts = scratch.take(t.dim * t.rows);       // (dim, rows)
      dqueries = scratch.take(t.rows * t.dim);    // (rows, dim)
      scores = scratch.take(tile_keys * t.rows);  // (keys, rows)
      gradient = scratch.take(tile_keys * t.rows);
      lse = scratch.take(t.rows);
      delta = scratch.take(t.rows);
      keys = scratch.take(tile_keys * t.dim);
      values = scratch.take(tile_keys * t.dim);
    }
  };

  void run_queries(Cpu& device, S* scratch) const {
    const std::int64_t blocks = ceil_div(q.rows(), tiles.tokens);
    device.pool().run(blocks * shape.kv_heads, [&](std::int64_t task, int worker) {
      const std::int64_t block = blocks - 1 - task / shape.kv_heads,
                         kv_head = task % shape.kv_heads;  // long rows first
      const QueriesTile tile(tiles, scratch + worker * worker_elements());
      documents.for_queries(block * tiles.tokens, std::min(q.rows(), (block + 1) * tiles.tokens),
                            [&](const Document& document, std::int64_t first, std::int64_t last) {
                              queries_piece(document, kv_head, {first, last}, tile);
                            });
    });
  }

  void queries_piece(const Document& document, std::int64_t kv_head, Range queries, const QueriesTile& tile) const {
    const std::int64_t rows = (queries.last - queries.first) * tiles.group, padded = round_up(rows, tile_lanes);
    const std::int64_t hd = shape.head_dim, head = kv_head * tiles.group, row = document.query_begin + queries.first;
    paths.load_transposed(q.row(row) + head * hd, q.stride, tiles.group, hd, rows, hd, padded,
                          static_cast<S>(shape.scale), tile.queries, tiles.rows);
    paths.load_transposed(dout.row(row) + head * hd, dout.stride, tiles.group, hd, rows, hd, padded, S{1}, tile.douts,
                          tiles.rows);
    std::fill_n(tile.dqueries, rows * tiles.dim, S{0});
    for (std::int64_t i = 0; i < padded; ++i) {  // padding rows: p = exp(0 - inf) = 0
      const bool real = i < rows;
      const std::int64_t h = head + i % tiles.group, token = row + i / tiles.group;
      tile.lse[i] = real ? lse(h, token) : std::numeric_limits<S>::infinity();
      tile.delta[i] = real ? delta[h * q.rows() + token] : S{0};
    }
    const Range band{keys_seen(shape, document, queries.first).first,
                     keys_seen(shape, document, queries.last - 1).last};
    for (std::int64_t key = std::max<std::int64_t>(0, band.first) / tile_keys * tile_keys; key < band.last;
         key += tile_keys)
      add_keys(document, kv_head, queries, {key, std::min(key + tile_keys, band.last)}, tile);
    for (std::int64_t i = 0; i < rows; ++i)
      paths.store_row(tile.dqueries + i * tiles.dim, hd, static_cast<S>(shape.scale),
                      dq.row(row + i / tiles.group) + (head + i % tiles.group) * hd, accumulate);
  }

  /// dqueries += what keys [first, last) contribute.
  void add_keys(const Document& document, std::int64_t kv_head, Range queries, Range keys,
                const QueriesTile& tile) const {
    const std::int64_t rows = (queries.last - queries.first) * tiles.group, padded = round_up(rows, tile_lanes);
    const std::int64_t count = keys.last - keys.first, hd = shape.head_dim, dim = tiles.dim, ld = tiles.rows;
    const std::int64_t row = document.key_begin + keys.first;
    paths.load(k.row(row) + kv_head * hd, k.stride, count, hd, dim, tile.keys, dim);
    paths.load(v.row(row) + kv_head * hd, v.stride, count, hd, dim, tile.values, dim);
    paths.matmul({tile.keys, dim, 1, tile.queries, ld, tile.scores, ld, count, padded, hd, false});
    paths.matmul({tile.values, dim, 1, tile.douts, ld, tile.gradient, ld, count, padded, hd, false});
    paths.gradient_by_lane(tile.scores, tile.gradient, ld, count, padded, tile.lse, tile.delta);
    mask_transposed(shape, document, queries, keys, tiles.group, tile.gradient, ld, padded, S{0});
    paths.matmul({tile.gradient, 1, ld, tile.keys, dim, tile.dqueries, dim, rows, dim, count, true});
  }
};

}  // namespace hone::cpu
