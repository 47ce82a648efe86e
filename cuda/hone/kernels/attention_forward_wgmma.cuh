// AttentionForward for sm_90a. The shape of the kernel is FlashAttention-3's (Shah et al., 2024): one warp fetches
// tiles of keys and values by TMA into two rings, warpgroups of 64 queries each multiply by wgmma. Exponentials and
// products are done by different parts of a multiprocessor, and are made to overlap twice:
//   within a warpgroup: the scores of the next keys are issued before this tile's weights meet their values, so that
//   the softmax of one tile runs beside the product of the one before; between warpgroups: they take turns in issuing,
//   so that one multiplies while another one is in its softmax.
// The fetching warps give most of their registers to those that multiply.
#pragma once

#include <hone/kernels/attention_softmax.cuh>
#include <hone/kernels/attention_wgmma.cuh>

namespace hone {
inline namespace HONE_TARGET {

// ---- kernels ----

template <int HeadDim>
struct AttentionForwardWgmmaTile {
  /// Warpgroups that multiply. Small heads leave room for a third one, and need it: their softmax is the longer part.
  static constexpr int groups = HeadDim == 64 ? 3 : 2, rows_of_group = 64, rows_of_warp = 16;
  static constexpr int queries = groups * rows_of_group, keys = 128, places = 2;
  static constexpr int threads = (groups + 1) * warpgroup_threads;
  /// Together 64 Ki, what a multiprocessor has.
  static constexpr int registers = groups == 3 ? 160 : 240, registers_to_fetch = groups == 3 ? 32 : 24;
};

template <int HeadDim>
struct AttentionForwardWgmmaShared {
  using Tile = AttentionForwardWgmmaTile<HeadDim>;
  using Ring = TileRing<SpanTile<Tile::keys, HeadDim>, Tile::places, Tile::groups * 4>;
  SpanTile<Tile::rows_of_group, HeadDim> q[Tile::groups];  // at the end the results
  Ring k, v;
  Band bands[Tile::queries];
  std::uint64_t q_full;
};

struct AttentionForwardMaps {
  TensorMap q, k, v, out;
};

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// The thread that fetches: queries once, keys and values of the band `all` tile by tile.
template <int HeadDim>
__device__ void attention_fetch(AttentionForwardWgmmaShared<HeadDim>& shared, const AttentionForwardMaps& maps,
                                const AttentionProblem& problem, const AttentionTask& task, const Band& all) {
  using Tile = AttentionForwardWgmmaTile<HeadDim>;
  const int kv_column = task.head / problem.group() * HeadDim;
  mbarrier_arrive_expect(&shared.q_full, sizeof(shared.q));
  for (int g = 0; g < Tile::groups; ++g)
    load_tile(shared.q[g], maps.q, &shared.q_full, task.first_row + g * Tile::rows_of_group, task.head * HeadDim);
  for (int key = all.first, tile = 0; key < all.last; key += Tile::keys, ++tile) {
    shared.k.fill(tile, maps.k, key, kv_column);
    shared.v.fill(tile, maps.v, key, kv_column);
  }
}

/// A warpgroup's walk along the tiles of its block. It multiplies tiles [first, last) of `tiles`: those that a query of
/// its own sees.
template <int HeadDim>
struct AttentionForwardGroup {
  using Tile = AttentionForwardWgmmaTile<HeadDim>;
  using Shared = AttentionForwardWgmmaShared<HeadDim>;
  static constexpr int fragments = Tile::keys / 8;

  /// What earlier sums of a lane's two rows are multiplied by.
  struct Shrink {
    float factor[2] = {1, 1};
    bool any[2] = {};
  };

  Shared& shared;
  int group, row;  // row: the warp's first, in the block
  int first_key, first, last, tiles;
  float factor;

  // Group g waits at barrier 1 + g until the group before it has issued.
  __device__ void take_turn() const { named_barrier_sync(1 + group, 2 * warpgroup_threads); }
  __device__ void pass_turn(int tile) const {
    const bool nobody_waits = group == Tile::groups - 1 && tile == tiles - 1;
    if (!nobody_waits) named_barrier_arrive(1 + (group + 1) % Tile::groups, 2 * warpgroup_threads);
  }
  /// All four warps of the group.
  __device__ void meet() const { named_barrier_sync(1 + Tile::groups + group, warpgroup_threads); }

  /// A tile that nobody of the group sees.
  __device__ void pass_by(int tile) const {
    shared.k.wait(tile);
    take_turn();
    pass_turn(tile);
    shared.k.release(tile);
    shared.v.wait(tile);
    shared.v.release(tile);
  }

  __device__ void mask(float (&scores)[1][fragments][4], int tile) const {
    const int key = first_key + tile * Tile::keys;
    const Band mine = load(shared.bands + row + lane_index() % Tile::rows_of_warp);
    if (warp_ballot(mine.covers(key, key + Tile::keys)) != 0xffffffffu) mask_scores(scores, shared.bands + row, key);
  }

  /// Begins the scores of a tile, in the group's turn.
  __device__ void begin_scores(float (&scores)[1][fragments][4], int tile) const {
    shared.k.wait(tile);
    take_turn();
    wgmma_fence();
    issue_product_transposed(scores, shared.q[group], shared.k.tile(tile));
    wgmma_commit();
  }

  /// A tile's scores, which are there, become weights, not rounded yet.
  __device__ Shrink weigh(float (&scores)[1][fragments][4], RunningSoftmax<1>& softmax, int tile) const {
    wgmma_settle(accumulators(scores));
    shared.k.release(tile);
    mask(scores, tile);
    Shrink shrink;
    HONE_UNROLL
    for (int half = 0; half < 2; ++half) {
      shrink.any[half] = softmax.follow(shrink.factor[half], 0, half, scores, factor);
      softmax.weigh(0, half, scores, factor, [&](int j, float left, float right) {
        scores[0][j][half * 2] = left;
        scores[0][j][half * 2 + 1] = right;
      });
    }
    return shrink;
  }

  /// Sums and running softmax of the group's queries over all keys they see, which are some.
  __device__ void attend(float (&sums)[1][HeadDim / 8][4], RunningSoftmax<1>& softmax) const {
    float scores[1][fragments][4];
    std::uint32_t weights[1][fragments][2];
    begin_scores(scores, first);
    pass_turn(first);
    wgmma_wait<0>();
    weigh(scores, softmax, first);
    round_sums(weights, scores);
    for (int tile = first + 1; tile < last; ++tile) {
      begin_scores(scores, tile);
      shared.v.wait(tile - 1);
      wgmma_fence();
      issue_product(sums, weights, shared.v.tile(tile - 1));
      wgmma_commit();
      pass_turn(tile);
      wgmma_wait<1>();
      const Shrink shrink = weigh(scores, softmax, tile);
      wgmma_wait<0>();  // until here the weights of the tile before belong to the hardware
      wgmma_settle(accumulators(sums));
      wgmma_settle(accumulators(scores));
      shared.v.release(tile - 1);
      HONE_UNROLL
      for (int half = 0; half < 2; ++half)
        if (shrink.any[half]) softmax.shrink_row(sums, 0, half, shrink.factor[half]);
      round_sums(weights, scores);
    }
    shared.v.wait(last - 1);
    wgmma_fence();
    issue_product(sums, weights, shared.v.tile(last - 1));
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_settle(accumulators(sums));
    shared.v.release(last - 1);
  }

  /// The whole walk.
  __device__ void walk(float (&sums)[1][HeadDim / 8][4], RunningSoftmax<1>& softmax) const {
    if (group == Tile::groups - 1) named_barrier_arrive(1, 2 * warpgroup_threads);  // the first group has its turn
    for (int tile = 0; tile < first; ++tile) pass_by(tile);
    mbarrier_wait(&shared.q_full, 0);
    if (first < last) attend(sums, softmax);
    for (int tile = last; tile < tiles; ++tile) pass_by(tile);
  }
};

#endif

template <int HeadDim>
__global__ void __launch_bounds__(wgmma_bound(AttentionForwardWgmmaTile<HeadDim>::threads), 1)
    attention_forward_wgmma_kernel(AttentionForwardMaps const __grid_constant__ maps, AttentionForwardArgs<bf16> args) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Tile = AttentionForwardWgmmaTile<HeadDim>;
  auto& shared = shared_memory<AttentionForwardWgmmaShared<HeadDim>>();
  const AttentionProblem& problem = args.problem;
  const AttentionTask task = attention_task(problem.heads, Tile::queries, true);
  const int warp = uniform(warp_index()), group = warp / 4, row = warp * Tile::rows_of_warp;  // where it multiplies
  if (thread_index() == 0) {
    shared.k.init();
    shared.v.init();
    mbarrier_init(&shared.q_full, 1);
    mbarrier_init_fence();
  }
  if (group < Tile::groups) {
    const Band mine = find_band<false, Tile::rows_of_warp>(problem, task.first_row + row, problem.queries);
    if (lane_index() < Tile::rows_of_warp) store(&shared.bands[row + lane_index()], mine);
  }
  __syncthreads();
  const auto first_of = [&](int r) { return uniform(load(&shared.bands[r]).first); };
  const auto last_of = [&](int r) { return uniform(load(&shared.bands[r]).last); };
  const Band all{first_of(0), last_of(Tile::queries - 1)};

  if (group == Tile::groups) {
    give_registers<Tile::registers_to_fetch>();
    if (thread_index() == Tile::groups * warpgroup_threads) attention_fetch(shared, maps, problem, task, all);
    return;
  }
  take_registers<Tile::registers>();
  const int group_row = group * Tile::rows_of_group;
  const bool exists = task.first_row + group_row < problem.queries;  // else its bands are the last query's
  const Band seen{first_of(group_row), last_of(group_row + Tile::rows_of_group - 1)};
  const auto tiles_until = [&](int key) { return (key - all.first + Tile::keys - 1) / Tile::keys; };
  const AttentionForwardGroup<HeadDim> walker{.shared = shared,
                                              .group = group,
                                              .row = row,
                                              .first_key = all.first,
                                              .first = exists ? (seen.first - all.first) / Tile::keys : 0,
                                              .last = exists ? tiles_until(seen.last) : 0,
                                              .tiles = tiles_until(all.last),
                                              .factor = problem.scale * log2_of_e};
  float sums[1][HeadDim / 8][4] = {};
  RunningSoftmax<1> softmax;
  softmax.clear();
  walker.walk(sums, softmax);
  if (!exists) return;
  float* lse = args.lse == nullptr ? nullptr : args.lse + task.head * args.lse_stride;
  softmax.finish(sums, lse, task.first_row + row, problem.queries);
  walker.meet();  // nobody multiplies the queries any more
  store_sums_to(shared.q[group], row - group_row, sums);
  async_proxy_fence();
  walker.meet();
  if (thread_index() % warpgroup_threads == 0)
    store_tile(shared.q[group], maps.out, task.first_row + group_row, task.head * HeadDim);
#endif
}

// ---- launchers ----

namespace kernel_detail {

template <int HeadDim>
void attention_forward_wgmma(KernelDevice& device, const AttentionForwardArgs<bf16>& args) {
  using Tile = AttentionForwardWgmmaTile<HeadDim>;
  using OfQueries = SpanTile<Tile::rows_of_group, HeadDim>;
  using OfKeys = SpanTile<Tile::keys, HeadDim>;
  const AttentionProblem& problem = args.problem;
  const std::int64_t q_columns = std::int64_t{problem.heads} * HeadDim,
                     columns = std::int64_t{problem.kv_heads} * HeadDim;
  const AttentionForwardMaps maps{.q = span_map<OfQueries>(device, args.q, problem.queries, q_columns),
                                  .k = span_map<OfKeys>(device, args.k, problem.keys, columns),
                                  .v = span_map<OfKeys>(device, args.v, problem.keys, columns),
                                  .out = span_map<OfQueries>(device, args.out, problem.queries, q_columns)};
  launch(device, "attention_forward_wgmma",
         attention_shape(problem.queries, Tile::queries, problem.heads, Tile::threads,
                         sizeof(AttentionForwardWgmmaShared<HeadDim>)),
         &attention_forward_wgmma_kernel<HeadDim>, maps, args);
}

}  // namespace kernel_detail

}  // namespace HONE_TARGET
}  // namespace hone
