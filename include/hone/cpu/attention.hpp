// Causal attention over packed documents on the CPU, in tiles: the scores of a document are never held whole.
//   Forward, per query i and its head:  s_j = scale q_i k_j,  p = softmax(s),  o_i = sum_j p_j v_j,  lse_i = ln sum exp
//   s_j Backward, with delta_i = do_i . o_i:  p_ij = exp(s_ij - lse_i),  ds_ij = p_ij (do_i v_j - delta_i)
//     dv_j = sum_i p_ij do_i,  dk_j = scale sum_i ds_ij q_i,  dq_i = scale sum_j ds_ij k_j
// (Dao et al., 2022; Dao, 2023.) dK and dV are formed by tile of keys, dQ by tile of queries, each by one task: nothing
// is added by two. Which keys a query sees: tensor/attention_shape.hpp.
#pragma once

#include <hone/cpu/attention_backward.hpp>
#include <hone/cpu/attention_plan.hpp>
#include <hone/cpu/attention_tiles.hpp>
#include <hone/tensor/kernel.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct AttentionForward;
struct AttentionBackward;
}  // namespace kernel

namespace cpu {

/// One call of AttentionForward. A task is a key head and a tile of tokens; the rows of its tile are (token, query
/// head). Scores stand transposed, (keys, rows): K and V are then read where they lie, and the softmax runs down the
/// lanes.
template <class T>
struct AttentionForwardPass {
  using S = Accumulator<T>;

  const AttentionShape& shape;
  const AttentionTiles tiles;
  const TilePaths<T> paths;
  const Documents documents;
  View<const T, 2> q, k, v;
  View<T, 2> out;
  View<S, 2> lse;

  struct Tile {
    S *queries, *scores, *output, *most, *total, *correction, *keys, *values;
    Tile(const AttentionTiles& t, S* begin) {
      Scratch<S> scratch(begin);
      queries = scratch.take(t.dim * t.rows);     // (dim, rows), scaled
      scores = scratch.take(tile_keys * t.rows);  // (keys, rows)
      output = scratch.take(t.rows * t.dim);      // (rows, dim), not yet divided by total
      most = scratch.take(t.rows);
      total = scratch.take(t.rows);
      correction = scratch.take(t.rows);
      keys = scratch.take(tile_keys * t.dim);
      values = scratch.take(tile_keys * t.dim);
    }
  };

  /// Queries [first, last) of one document, for the heads of one key head.
  void piece(const Document& document, std::int64_t kv_head, std::int64_t first, std::int64_t last,
             const Tile& tile) const {
    const std::int64_t rows = (last - first) * tiles.group, padded = round_up(rows, tile_lanes), hd = shape.head_dim;
    const std::int64_t head = kv_head * tiles.group;
    paths.load_transposed(q.row(document.query_begin + first) + head * hd, q.stride, tiles.group, hd, rows, hd, padded,
                          static_cast<S>(shape.scale), tile.queries, tiles.rows);
    std::fill_n(tile.output, rows * tiles.dim, S{0});
    std::fill_n(tile.most, padded, -std::numeric_limits<S>::infinity());
    std::fill_n(tile.total, padded, S{0});
    const Range band{keys_seen(shape, document, first).first, keys_seen(shape, document, last - 1).last};
    for (std::int64_t key = std::max<std::int64_t>(0, band.first) / tile_keys * tile_keys; key < band.last;
         key += tile_keys)
      key_tile(document, kv_head, {first, last}, {key, std::min(key + tile_keys, band.last)}, tile);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t token = document.query_begin + first + row / tiles.group, h = head + row % tiles.group;
      paths.store_row(tile.output + row * tiles.dim, hd, S{1} / tile.total[row], out.row(token) + h * hd, false);
      if (wanted(lse)) lse(h, token) = tile.most[row] + std::log(tile.total[row]);
    }
  }

 private:
  void key_tile(const Document& document, std::int64_t kv_head, Range queries, Range keys, const Tile& tile) const {
    const std::int64_t count = keys.last - keys.first, hd = shape.head_dim;
    const std::int64_t rows = (queries.last - queries.first) * tiles.group, padded = round_up(rows, tile_lanes);
    const std::int64_t key_row = document.key_begin + keys.first;
    paths.load(k.row(key_row) + kv_head * hd, k.stride, count, hd, tiles.dim, tile.keys, tiles.dim);
    paths.load(v.row(key_row) + kv_head * hd, v.stride, count, hd, tiles.dim, tile.values, tiles.dim);
    paths.matmul(
        {tile.keys, tiles.dim, 1, tile.queries, tiles.rows, tile.scores, tiles.rows, count, padded, hd, false});
    mask_transposed(shape, document, queries, keys, tiles.group, tile.scores, tiles.rows, padded,
                    -std::numeric_limits<S>::infinity());
    paths.softmax(tile.scores, tiles.rows, count, padded, tile.most, tile.total, tile.correction);
    paths.scale_rows(tile.output, tiles.dim, rows, tiles.dim, tile.correction);
    paths.matmul(
        {tile.scores, 1, tiles.rows, tile.values, tiles.dim, tile.output, tiles.dim, rows, tiles.dim, count, true});
  }
};

template <class T>
void check_attention(const AttentionShape& shape, const View<T, 2>& q, const View<T, 2>& k) {
  check(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim > 0 && shape.window >= 0 &&
            q.extent(1) == shape.heads * shape.head_dim && k.extent(1) == shape.kv_heads * shape.head_dim,
        "[attention] q has {} columns and k {}, for {} heads, {} key heads of {} columns, window {}", q.extent(1),
        k.extent(1), shape.heads, shape.kv_heads, shape.head_dim, shape.window);
}

}  // namespace cpu

/// out (Nq, heads * head_dim), and lse (heads, Nq) unless absent. cu_q and cu_k (documents + 1) are cumulative lengths.
template <class T>
void run(Tag<kernel::AttentionForward>, Cpu& device, const AttentionShape& shape, In<T, 2> q, In<T, 2> k, In<T, 2> v,
         In<std::int32_t, 1> cu_q, In<std::int32_t, 1> cu_k, View<T, 2> out, View<Accumulator<T>, 2> lse,
         View<std::byte, 1> workspace) {
  using S = Accumulator<T>;
  cpu::check_attention(shape, q, k);
  const std::int64_t bytes = attention_forward_workspace_bytes(device.target(), shape, q.rows());
  S* scratch = cpu::workspace_as<S>("attention", workspace, bytes);
  const cpu::AttentionForwardPass<T> pass{shape,
                                          cpu::AttentionTiles(shape),
                                          cpu::TilePaths<T>(device.target().isa),
                                          cpu::Documents(cu_q, cu_k, q.rows(), k.rows()),
                                          q,
                                          k,
                                          v,
                                          out,
                                          lse};
  const std::int64_t tokens = pass.tiles.tokens, blocks = ceil_div(q.rows(), tokens);
  device.pool().run(blocks * shape.kv_heads, [&](std::int64_t task, int worker) {
    const std::int64_t block = blocks - 1 - task / shape.kv_heads, kv_head = task % shape.kv_heads;  // long rows first
    const typename cpu::AttentionForwardPass<T>::Tile tile(pass.tiles,
                                                           scratch + worker * pass.tiles.forward_elements());
    pass.documents.for_queries(block * tokens, std::min(q.rows(), (block + 1) * tokens),
                               [&](const cpu::Document& document, std::int64_t first, std::int64_t last) {
                                 pass.piece(document, kv_head, first, last, tile);
                               });
  });
}

/// dq, dk and dv, each absent, or all overwritten or all added to. `out` and `lse` are the forward pass's.
template <class T>
void run(Tag<kernel::AttentionBackward>, Cpu& device, const AttentionShape& shape, In<T, 2> dout, In<T, 2> q,
         In<T, 2> k, In<T, 2> v, In<T, 2> out, In<Accumulator<T>, 2> lse, In<std::int32_t, 1> cu_q,
         In<std::int32_t, 1> cu_k, View<T, 2> dq, View<T, 2> dk, View<T, 2> dv, bool accumulate,
         View<std::byte, 1> workspace) {
  using S = Accumulator<T>;
  cpu::check_attention(shape, q, k);
  const std::int64_t bytes = attention_backward_workspace_bytes(device.target(), shape, q.rows());
  S* delta = cpu::workspace_as<S>("attention", workspace, bytes);  // (heads, Nq)
  S* scratch = delta + round_up(shape.heads * q.rows(), 16);
  const cpu::AttentionBackwardPass<T> pass{shape,
                                           cpu::AttentionTiles(shape),
                                           cpu::TilePaths<T>(device.target().isa),
                                           cpu::Documents(cu_q, cu_k, q.rows(), k.rows()),
                                           dout,
                                           q,
                                           k,
                                           v,
                                           lse,
                                           delta,
                                           dq,
                                           dk,
                                           dv,
                                           accumulate};
  cpu::for_rows(device, q.rows(), q.extent(1), [&](std::int64_t row) {
    pass.paths.head_dot(dout.row(row), out.row(row), shape.head_dim, shape.heads, delta + row, q.rows());
  });
  if (cpu::wanted(dk) || cpu::wanted(dv)) pass.run_keys(device, scratch);
  if (cpu::wanted(dq)) pass.run_queries(device, scratch);
}

}  // namespace hone
