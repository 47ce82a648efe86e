// AttentionForward: causal attention over packed documents, the scores never in memory (Dao et al., 2022; Dao, 2023).
//   s = scale q k^T,  p = exp(s - lse),  out = p v,  lse = ln sum exp s, over the keys a query sees
// On tensor cores, for bf16 and head_dim 64, 96 or 128, a block takes 128 queries of a head, 32 a warp, and walks the
// keys its queries see, 64 at a time. The maximum and the sum of a row are kept running; when the maximum has grown,
// what was summed is scaled down by the same factor. Keys come while the tile before meets its values, values while the
// keys meet the queries: each copy hides behind one product. On sm_90a longer inputs take
// attention_forward_wgmma.cuh, and everything that is not for tensor cores attention_plain.cuh.
#pragma once

#include <hone/kernels/attention_forward_wgmma.cuh>
#include <hone/kernels/attention_plain.cuh>
#include <hone/kernels/attention_softmax.cuh>
#include <hone/tensor/kernel.hpp>

#include <cmath>
#include <type_traits>

namespace hone {

namespace kernel {
struct AttentionForward;
}

inline namespace HONE_TARGET {

// ---- kernels ----

struct AttentionForwardTile {
  static constexpr int fragments = 2, rows_of_warp = 16 * fragments;
  static constexpr int queries = attention_warps * rows_of_warp, keys = 64, key_fragments = keys / 8;
};

template <int HeadDim>
struct AttentionForwardShared {
  using Tile = AttentionForwardTile;
  HalfTile<Tile::queries, HeadDim> q;
  HalfTile<Tile::keys, HeadDim> k, v;
  Band bands[Tile::queries];
};

template <int HeadDim>
__global__ void __launch_bounds__(attention_threads, 2) attention_forward_kernel(AttentionForwardArgs<bf16> args) {
  using Tile = AttentionForwardTile;
  auto& shared = shared_memory<AttentionForwardShared<HeadDim>>();
  const AttentionProblem& problem = args.problem;
  const AttentionTask task = attention_task(problem.heads, Tile::queries, true);
  const int warp_row = warp_index() * Tile::rows_of_warp, row = task.first_row + warp_row;
  const Rows<const bf16> k = head_of(args.k, task.head / problem.group(), HeadDim);
  const Rows<const bf16> v = head_of(args.v, task.head / problem.group(), HeadDim);

  fill_rows(shared.q, head_of(args.q, task.head, HeadDim), task.first_row, problem.queries);
  Band* const bands = shared.bands + warp_row;  // of the warp's rows, one a lane
  store(bands + lane_index(), find_band<false, Tile::rows_of_warp>(problem, row, problem.queries));
  __syncthreads();
  int key = load(&shared.bands[0]).first;
  fill_rows(shared.k, k, key, problem.keys);
  async_commit();

  float sums[Tile::fragments][HeadDim / 8][4] = {};
  RunningSoftmax<Tile::fragments> softmax;
  softmax.clear();
  // Read again each time: registers are all taken.
  const auto ends = [&](int at) { return at >= load(&shared.bands[Tile::queries - 1]).last; };
  for (; !ends(key); key += Tile::keys) {
    async_wait<0>();
    __syncthreads();  // the keys are there, and nobody reads the values of the tile before any more
    fill_rows(shared.v, v, key, problem.keys);
    async_commit();
    const Band mine = load(bands + lane_index());
    const bool seen = warp_ballot(mine.meets(key, key + Tile::keys)) != 0;
    std::uint32_t weights[Tile::fragments][Tile::key_fragments][2];
    if (seen) {
      float scores[Tile::fragments][Tile::key_fragments][4] = {};
      add_product_transposed(scores, shared.q, warp_row, shared.k);
      if (warp_ballot(mine.covers(key, key + Tile::keys)) != 0xffffffffu) mask_scores(scores, bands, key);
      softmax.turn(weights, scores, sums, problem.scale * log2_of_e);
    }
    async_wait<0>();
    __syncthreads();  // the values are there, and nobody reads these keys any more
    if (!ends(key + Tile::keys)) {
      fill_rows(shared.k, k, key + Tile::keys, problem.keys);
      async_commit();
    }
    if (seen) add_product(sums, weights, shared.v);
  }
  float* lse = args.lse == nullptr ? nullptr : args.lse + task.head * args.lse_stride;
  softmax.finish(sums, lse, row, problem.queries);
  write_rows(sums, shared.q, warp_row, head_of(args.out, task.head, HeadDim), row, problem.queries, false);
}

// ---- launchers ----

namespace kernel_detail {

template <int HeadDim>
void attention_forward(KernelDevice& device, const AttentionForwardArgs<bf16>& args) {
  if (attention_takes_wgmma(device, args.problem, &attention_forward_wgmma_kernel<HeadDim>,
                            AttentionForwardWgmmaTile<HeadDim>::threads))
    return attention_forward_wgmma<HeadDim>(device, args);
  launch(device, "attention_forward",
         attention_shape(args.problem.queries, AttentionForwardTile::queries, args.problem.heads, attention_threads,
                         sizeof(AttentionForwardShared<HeadDim>)),
         &attention_forward_kernel<HeadDim>, args);
}

/// True where a kernel on tensor cores serves the call: it reads rows 16 bytes at a time, and finds a row's maximum
/// before it scales.
template <class T, class... V>
bool attention_on_tensor_cores(const AttentionShape& shape, const V&... views) {
  const std::int64_t dim = shape.head_dim;
  return std::is_same_v<T, bf16> && (dim == 64 || dim == 96 || dim == 128) && shape.scale > 0 &&
         allows_vectors(views...);
}

}  // namespace kernel_detail

/// out (Nq, heads * head_dim), and lse (heads, Nq) unless absent, from q (Nq, heads * head_dim), k and v
/// (Nk, kv_heads * head_dim). cu_q and cu_k (documents + 1) are cumulative lengths; in a document with a queries and
/// b >= a keys, query i sees keys up to b - a + i. Takes no workspace.
template <class T>
void run(Tag<kernel::AttentionForward>, KernelDevice& device, const AttentionShape& shape, In<T, 2> q, In<T, 2> k,
         In<T, 2> v, In<std::int32_t, 1> cu_q, In<std::int32_t, 1> cu_k, View<T, 2> out, View<float, 2> lse,
         View<std::byte, 1>) {
  const AttentionForwardArgs<T> args{.problem = kernel_detail::attention_problem(shape, q, k, cu_q, cu_k),
                                     .q = rows_of(q),
                                     .k = rows_of(k),
                                     .v = rows_of(v),
                                     .out = rows_of(out),
                                     .lse = lse.rows() == 0 ? nullptr : lse.data,
                                     .lse_stride = lse.stride};
  if (q.rows() == 0) return;
  if constexpr (std::is_same_v<T, bf16>) {
    if (kernel_detail::attention_on_tensor_cores<T>(shape, q, k, v, out)) {
      if (shape.head_dim == 64) return kernel_detail::attention_forward<64>(device, args);
      if (shape.head_dim == 96) return kernel_detail::attention_forward<96>(device, args);
      return kernel_detail::attention_forward<128>(device, args);
    }
  }
  kernel_detail::attention_plain_forward(device, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
