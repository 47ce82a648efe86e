// AttentionBackward, without atomics and without partial sums in memory: each result has one block that makes it.
//   delta = rowsum(dout * out)
//   p = exp(scale q k^T - lse),  ds = p * (dout v^T - delta)
//   dv = p^T dout,  dk = scale ds^T q  by blocks of keys;  dq = scale ds k  by blocks of queries      (Dao, 2023)
// p and dout v^T are formed again in each pass: seven products instead of five, and no order of blocks to depend on.
// Both passes are one kernel. A block owns 64 rows, 16 a warp: keys with their values, or queries with their dout. It
// walks the other pair, the next tile on its way while this one is multiplied. Transposed scores come out of the first
// two products when rows are keys, and results of a product are a left factor of the next one as they stand, so that
// p and ds never leave the registers. The query heads of a group are walked one after the other. On sm_90a longer
// inputs take attention_backward_wgmma.cuh.
#pragma once

#include <hone/kernels/attention_backward_wgmma.cuh>
#include <hone/kernels/attention_forward.cuh>
#include <hone/tensor/gpu_workspace.hpp>

#include <cmath>
#include <cstddef>
#include <type_traits>

namespace hone {

namespace kernel {
struct AttentionBackward;
}

inline namespace HONE_TARGET {

// ---- kernels ----

inline constexpr int attention_delta_lanes = 8;  // that share a row of a head
inline constexpr int attention_delta_rows = attention_threads / attention_delta_lanes;

/// delta = rowsum(dout * out) of one head. Neighbouring rows of a head lie in one block, so that what it writes is
/// contiguous.
template <class T, int V>
__global__ void __launch_bounds__(attention_threads)
    attention_delta_kernel(Rows<const T> dout, Rows<const T> out, float* delta, int rows, int heads, int head_dim) {
  const AttentionTask task = attention_task(heads, attention_delta_rows, false);
  const int row = task.first_row + thread_index() / attention_delta_lanes, lane = lane_index() % attention_delta_lanes;
  float sum = 0;
  if (row < rows) {
    const T* a = head_of(dout, task.head, head_dim).row(row);
    const T* b = head_of(out, task.head, head_dim).row(row);
    for (int col = lane * V; col < head_dim; col += attention_delta_lanes * V) {
      const auto left = load<V>(a + col), right = load<V>(b + col);
      HONE_UNROLL
      for (int i = 0; i < V; ++i) sum += to_float(left[i]) * to_float(right[i]);
    }
  }
  HONE_UNROLL
  for (int offset = attention_delta_lanes / 2; offset > 0; offset /= 2) sum += warp_xor(sum, offset);
  if (row < rows && lane == 0) store(delta + std::int64_t{task.head} * rows + row, sum);
}

template <int HeadDim>
struct AttentionBackwardTile {
  static constexpr int rows_of_warp = 16, rows = attention_warps * rows_of_warp;
  static constexpr int others = HeadDim > 64 ? 32 : 64, other_fragments = others / 8;
};

template <int HeadDim>
struct AttentionBackwardShared {
  using Tile = AttentionBackwardTile<HeadDim>;
  HalfTile<Tile::rows, HeadDim> own_first, own_second;              // k and v, or q and dout
  HalfTile<Tile::others, HeadDim> other_first[2], other_second[2];  // q and dout, or k and v
  float lse[2][Tile::others], delta[2][Tile::others];               // of the other rows, where those are queries
  Band bands[Tile::rows];
};

/// ByKey: rows are keys, and the block makes dk and dv; else rows are queries and it makes dq.
template <int HeadDim, bool ByKey>
__global__ void __launch_bounds__(attention_threads, ByKey ? 2 : 3)
    attention_backward_kernel(AttentionBackwardArgs<bf16> args) {
  using Tile = AttentionBackwardTile<HeadDim>;
  auto& shared = shared_memory<AttentionBackwardShared<HeadDim>>();
  const AttentionProblem& problem = args.problem;
  const int rows = ByKey ? problem.keys : problem.queries, others = ByKey ? problem.queries : problem.keys;
  const AttentionTask task = attention_task(ByKey ? problem.kv_heads : problem.heads, Tile::rows, !ByKey);
  const int warp_row = warp_index() * Tile::rows_of_warp, row = task.first_row + warp_row;
  const int kv_head = ByKey ? task.head : task.head / problem.group();
  const int heads = ByKey ? problem.group() : 1, first_head = ByKey ? kv_head * heads : task.head;
  const Rows<const bf16> k = head_of(args.k, kv_head, HeadDim), v = head_of(args.v, kv_head, HeadDim);

  const Band mine = find_band<ByKey, Tile::rows_of_warp>(problem, row, rows);
  if (lane_index() < Tile::rows_of_warp) store(&shared.bands[warp_row + lane_index()], mine);
  __syncthreads();
  const Band all{load(&shared.bands[0]).first, load(&shared.bands[Tile::rows - 1]).last};

  const auto fill = [&](int buffer, int head, int at) {
    const Rows<const bf16> q = head_of(args.q, head, HeadDim), dout = head_of(args.dout, head, HeadDim);
    fill_rows(shared.other_first[buffer], ByKey ? q : k, at, others);
    fill_rows(shared.other_second[buffer], ByKey ? dout : v, at, others);
    if constexpr (ByKey) {
      if (const int i = thread_index(); i < 2 * Tile::others) {
        const int query = at + i % Tile::others;
        const float* from =
            i < Tile::others ? args.lse + head * args.lse_stride : args.delta + std::int64_t{head} * problem.queries;
        float* to = i < Tile::others ? shared.lse[buffer] : shared.delta[buffer];
        async_copy4(to + i % Tile::others, query < others ? from + query : from, 4);  // past the end: masked
      }
    }
    async_commit();
  };
  AttentionQuery own_queries[2] = {};  // where rows are queries: the two a lane holds parts of
  if constexpr (!ByKey) {
    HONE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int wanted = row + lane_index() / 4 + half * 8, query = wanted < rows ? wanted : rows - 1;
      own_queries[half].lse = load(args.lse + task.head * args.lse_stride + query);
      own_queries[half].delta = load(args.delta + std::int64_t{task.head} * rows + query);
    }
  }

  float with_first[1][HeadDim / 8][4] = {}, with_second[1][ByKey ? HeadDim / 8 : 1][4] = {};
  int head = first_head, at = all.first, buffer = 0;
  if (all.first < all.last) {
    fill_rows(shared.own_first, ByKey ? k : head_of(args.q, task.head, HeadDim), task.first_row, rows);
    fill_rows(shared.own_second, ByKey ? v : head_of(args.dout, task.head, HeadDim), task.first_row, rows);
    fill(0, head, at);
  }
  while (at < all.last) {
    const bool wraps = at + Tile::others >= all.last;
    const int next_head = head + (wraps ? 1 : 0), next = wraps ? all.first : at + Tile::others;
    const bool more = next_head < first_head + heads;
    async_wait<0>();
    __syncthreads();  // this tile is there, and nobody reads the one before any more
    if (more) fill(buffer ^ 1, next_head, next);
    if (warp_ballot(mine.meets(at, at + Tile::others)) != 0) {
      float scores[1][Tile::other_fragments][4] = {}, slopes[1][Tile::other_fragments][4] = {};
      add_product_transposed(scores, shared.own_first, warp_row, shared.other_first[buffer]);
      if (warp_ballot(mine.covers(at, at + Tile::others)) != 0xffffffffu)
        mask_scores(scores, shared.bands + warp_row, at);
      add_product_transposed(slopes, shared.own_second, warp_row, shared.other_second[buffer]);
      std::uint32_t weights[1][Tile::other_fragments][2], rounded[1][Tile::other_fragments][2];
      differentiate(weights, scores, slopes, problem.scale * log2_of_e, [&](int j, int e) {
        if constexpr (!ByKey) return own_queries[e / 2];
        const int column = j * 8 + lane_index() % 4 * 2 + e % 2;
        return AttentionQuery{shared.lse[buffer][column], shared.delta[buffer][column]};
      });
      round_sums(rounded, slopes);
      if constexpr (ByKey) add_product(with_second, weights, shared.other_second[buffer]);
      add_product(with_first, rounded, shared.other_first[buffer]);
    }
    head = next_head;
    at = more ? next : all.last;
    buffer ^= 1;
  }

  scale_sums(with_first, problem.scale);
  const Rows<bf16> result = ByKey ? args.dk : args.dq;
  if (result.data != nullptr)
    write_rows(with_first, shared.own_first, warp_row, head_of(result, task.head, HeadDim), row, rows, args.accumulate);
  if constexpr (ByKey) {
    if (args.dv.data != nullptr)
      write_rows(with_second, shared.own_second, warp_row, head_of(args.dv, task.head, HeadDim), row, rows,
                 args.accumulate);
  }
}

// ---- launchers ----

namespace kernel_detail {

template <class T>
void attention_delta(KernelDevice& device, const AttentionShape& shape, const View<const T, 2>& dout,
                     const View<const T, 2>& out, float* delta) {
  const bool vectors = allows_vectors(dout, out) && shape.head_dim % vector_width<T> == 0;
  constexpr auto wide = &attention_delta_kernel<T, vector_width<T>>;
  constexpr auto scalar = &attention_delta_kernel<T, 1>;
  launch(device, "attention_delta",
         attention_shape(out.rows(), attention_delta_rows, static_cast<int>(shape.heads), attention_threads, 0),
         vectors ? wide : scalar, rows_of(dout), rows_of(out), delta, static_cast<int>(out.rows()),
         static_cast<int>(shape.heads), static_cast<int>(shape.head_dim));
}

template <int HeadDim, bool ByKey>
void attention_backward_pass(KernelDevice& device, const AttentionBackwardArgs<bf16>& args) {
  if (attention_takes_wgmma(device, args.problem, &attention_backward_wgmma_kernel<HeadDim, ByKey>,
                            AttentionBackwardWgmmaTile::threads))
    return attention_backward_wgmma_pass<HeadDim, ByKey>(device, args);
  const AttentionProblem& problem = args.problem;
  launch(device, ByKey ? "attention_dkv" : "attention_dq",
         attention_shape(ByKey ? problem.keys : problem.queries, AttentionBackwardTile<HeadDim>::rows,
                         ByKey ? problem.kv_heads : problem.heads, attention_threads,
                         sizeof(AttentionBackwardShared<HeadDim>)),
         &attention_backward_kernel<HeadDim, ByKey>, args);
}

/// dk and dv (ByKey) or dq, by the kernel that takes these tensors.
template <bool ByKey, class T>
void attention_backward(KernelDevice& device, const AttentionBackwardArgs<T>& args, bool tensor_cores) {
  if constexpr (std::is_same_v<T, bf16>) {
    if (tensor_cores) {
      if (args.problem.head_dim == 64) return attention_backward_pass<64, ByKey>(device, args);
      if (args.problem.head_dim == 96) return attention_backward_pass<96, ByKey>(device, args);
      return attention_backward_pass<128, ByKey>(device, args);
    }
  }
  attention_plain_backward<ByKey>(device, args);
}

}  // namespace kernel_detail

/// dq, dk and dv, each absent, or all overwritten or all added to; they must not be q, k, v, out or dout. `out` and
/// `lse` are the forward pass's. The workspace holds delta.
template <class T>
void run(Tag<kernel::AttentionBackward>, KernelDevice& device, const AttentionShape& shape, In<T, 2> dout, In<T, 2> q,
         In<T, 2> k, In<T, 2> v, In<T, 2> out, In<float, 2> lse, In<std::int32_t, 1> cu_q, In<std::int32_t, 1> cu_k,
         View<T, 2> dq, View<T, 2> dk, View<T, 2> dv, bool accumulate, View<std::byte, 1> workspace) {
  const std::int64_t bytes = gpu::attention_backward_workspace_bytes(device.target(), shape, q.rows());
  check(workspace.extent(0) >= bytes, "[attention] workspace has {} bytes, wanted {}", workspace.extent(0), bytes);
  const auto wanted = [](const View<T, 2>& view) {
    return Rows<T>{view.rows() == 0 ? nullptr : view.data, view.stride};
  };
  auto* delta = reinterpret_cast<float*>(workspace.data);
  const AttentionBackwardArgs<T> args{.problem = kernel_detail::attention_problem(shape, q, k, cu_q, cu_k),
                                      .dout = rows_of(dout),
                                      .q = rows_of(q),
                                      .k = rows_of(k),
                                      .v = rows_of(v),
                                      .lse = lse.data,
                                      .lse_stride = lse.stride,
                                      .delta = delta,
                                      .dq = wanted(dq),
                                      .dk = wanted(dk),
                                      .dv = wanted(dv),
                                      .accumulate = accumulate};
  const auto writable = [](const View<T, 2>& view) { return view.rows() == 0 || allows_vectors(view); };
  const bool tensor_cores =
      kernel_detail::attention_on_tensor_cores<T>(shape, dout, q, k, v) && writable(dq) && writable(dk) && writable(dv);
  if (q.rows() > 0) kernel_detail::attention_delta(device, shape, View<const T, 2>(dout), View<const T, 2>(out), delta);
  if (k.rows() > 0 && (args.dk.data != nullptr || args.dv.data != nullptr))
    kernel_detail::attention_backward<true>(device, args, tensor_cores);
  if (q.rows() > 0 && args.dq.data != nullptr) kernel_detail::attention_backward<false>(device, args, tensor_cores);
}

}  // namespace HONE_TARGET
}  // namespace hone
