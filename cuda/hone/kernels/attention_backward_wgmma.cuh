// AttentionBackward for sm_90a: the two passes of attention_backward.cuh, by wgmma and TMA. A block owns 128 rows, 64 a
// warpgroup: keys with their values, or queries with their dout. One warp fetches the other pair, 64 positions at a
// time, into two rings. The score-like products come out of shared memory, and p and ds go from registers into the
// next products, against the same tiles as they lie. While one warpgroup is in its exponentials the other multiplies.
#pragma once

#include <hone/kernels/attention_gradient.cuh>
#include <hone/kernels/attention_wgmma.cuh>

#include <cstdint>

namespace hone {
inline namespace HONE_TARGET {

// ---- kernels ----

struct AttentionBackwardWgmmaTile {
  static constexpr int groups = 2, rows_of_group = 64, rows_of_warp = 16, rows = groups * rows_of_group;
  static constexpr int others = 64, fragments = others / 8, places = 2;
  static constexpr int threads = (groups + 1) * warpgroup_threads;
  static constexpr int registers = 232, registers_to_fetch = 40;  // together 63 Ki, of 64 Ki
};

/// lse and delta of queries on their way.
template <int Queries, int Places, int Readers>
struct QueryRing : Ring<Places, Readers> {
  float lse[Places][Queries], delta[Places][Queries];
};

template <int HeadDim>
struct AttentionBackwardWgmmaShared {
  using Tile = AttentionBackwardWgmmaTile;
  using Rows = SpanTile<Tile::rows_of_group, HeadDim>;
  static constexpr int readers = Tile::groups * 4;
  Rows own_first[Tile::groups], own_second[Tile::groups];  // k and v, or q and dout
  TileRing<Rows, Tile::places, readers> other_first, other_second;
  QueryRing<Tile::others, Tile::places, readers> numbers;  // of the others, where those are queries
  Band bands[Tile::rows];
  std::uint64_t own_full;
};

struct AttentionBackwardMaps {
  TensorMap dout, q, k, v;
};

/// What a block of a pass does: its rows, and the others it walks, of one head of a group after the other.
struct AttentionBackwardTask {
  AttentionTask task;
  int kv_head, first_head, heads;  // heads: of queries
  int rows, others;
  Band all;  // of the others, what any of its rows sees
};

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// The warp that fetches.
template <int HeadDim, bool ByKey>
__device__ void attention_backward_fetch(AttentionBackwardWgmmaShared<HeadDim>& shared,
                                         const AttentionBackwardMaps& maps, const AttentionBackwardArgs<bf16>& args,
                                         const AttentionBackwardTask& block) {
  using Tile = AttentionBackwardWgmmaTile;
  if (block.all.first >= block.all.last) return;
  const bool issues = lane_index() == 0;
  const int kv_column = block.kv_head * HeadDim, first_column = block.first_head * HeadDim;
  if (issues) {
    mbarrier_arrive_expect(&shared.own_full, sizeof(shared.own_first) + sizeof(shared.own_second));
    for (int g = 0; g < Tile::groups; ++g) {
      const int row = block.task.first_row + g * Tile::rows_of_group, column = ByKey ? kv_column : first_column;
      load_tile(shared.own_first[g], ByKey ? maps.k : maps.q, &shared.own_full, row, column);
      load_tile(shared.own_second[g], ByKey ? maps.v : maps.dout, &shared.own_full, row, column);
    }
  }
  int n = 0;
  for (int head = block.first_head; head < block.first_head + block.heads; ++head) {
    const int column = ByKey ? head * HeadDim : kv_column;
    for (int at = block.all.first; at < block.all.last; at += Tile::others, ++n) {
      if (issues) {
        shared.other_first.fill(n, ByKey ? maps.q : maps.k, at, column);
        shared.other_second.fill(n, ByKey ? maps.dout : maps.v, at, column);
      }
      if constexpr (ByKey) {
        const float* lse = args.lse + head * args.lse_stride;
        const float* delta = args.delta + std::int64_t{head} * block.others;
        shared.numbers.wait_empty(n);
        HONE_UNROLL
        for (int i = lane_index(); i < Tile::others; i += warp_lanes) {
          const int query = at + i < block.others ? at + i : block.others - 1;  // past the end: masked
          store(&shared.numbers.lse[n % Tile::places][i], load(lse + query));
          store(&shared.numbers.delta[n % Tile::places][i], load(delta + query));
        }
        __syncwarp();
        if (issues) mbarrier_arrive(&shared.numbers.full[n % Tile::places]);
      }
    }
  }
}

/// A warpgroup's part of a pass: sums over the others of p or ds with them. `seen` is what any row of the group sees.
template <int HeadDim, bool ByKey>
struct AttentionBackwardGroup {
  using Tile = AttentionBackwardWgmmaTile;
  static constexpr int fragments = Tile::fragments, columns = HeadDim / 8;

  AttentionBackwardWgmmaShared<HeadDim>& shared;
  int group, row;  // row: the warp's first, in the block
  Band seen;
  float factor;
  AttentionQuery own[2];  // where rows are queries: the two a lane holds parts of

  __device__ void wait(int n) const {
    shared.other_first.wait(n);
    shared.other_second.wait(n);
    if constexpr (ByKey) shared.numbers.wait(n);
  }
  __device__ void release(int n) const {
    shared.other_first.release(n);
    shared.other_second.release(n);
    if constexpr (ByKey) shared.numbers.release(n);
  }
  /// All four warps of the group.
  __device__ void meet() const { named_barrier_sync(1 + group, warpgroup_threads); }

  /// p in `weights` and ds in `rounded`, of tile n, which begins at `at`.
  __device__ void slopes_of(std::uint32_t (&weights)[1][fragments][2], std::uint32_t (&rounded)[1][fragments][2], int n,
                            int at) const {
    float scores[1][fragments][4], slopes[1][fragments][4];
    wgmma_fence();
    issue_product_transposed(scores, shared.own_first[group], shared.other_first.tile(n));
    wgmma_commit();
    issue_product_transposed(slopes, shared.own_second[group], shared.other_second.tile(n));
    wgmma_commit();
    wgmma_wait<1>();
    wgmma_settle(accumulators(scores));
    const Band mine = load(shared.bands + row + lane_index() % Tile::rows_of_warp);
    if (warp_ballot(mine.covers(at, at + Tile::others)) != 0xffffffffu) mask_scores(scores, shared.bands + row, at);
    wgmma_wait<0>();
    wgmma_settle(accumulators(slopes));
    differentiate(weights, scores, slopes, factor, [&](int j, int e) {
      if constexpr (!ByKey) return own[e / 2];
      const int place = n % Tile::places, column = j * 8 + lane_index() % 4 * 2 + e % 2;
      return AttentionQuery{shared.numbers.lse[place][column], shared.numbers.delta[place][column]};
    });
    round_sums(rounded, slopes);
  }

  __device__ void walk(float (&with_first)[1][columns][4], float (&with_second)[1][ByKey ? columns : 1][4],
                       const Band& all, int heads) const {
    int n = 0;
    for (int head = 0; head < heads; ++head) {
      for (int at = all.first; at < all.last; at += Tile::others, ++n) {
        wait(n);
        if (seen.meets(at, at + Tile::others)) {
          std::uint32_t weights[1][fragments][2], rounded[1][fragments][2];
          slopes_of(weights, rounded, n, at);
          wgmma_fence();
          if constexpr (ByKey) issue_product(with_second, weights, shared.other_second.tile(n));
          issue_product(with_first, rounded, shared.other_first.tile(n));
          wgmma_commit();
          wgmma_wait<0>();
          wgmma_settle(accumulators(with_first));
          if constexpr (ByKey) wgmma_settle(accumulators(with_second));
        }
        release(n);
      }
    }
  }
};

#endif

/// ByKey: rows are keys, and the block makes dk and dv; else rows are queries and it makes dq.
template <int HeadDim, bool ByKey>
__global__ void __launch_bounds__(wgmma_bound(AttentionBackwardWgmmaTile::threads), 1)
    attention_backward_wgmma_kernel(AttentionBackwardMaps const __grid_constant__ maps,
                                    AttentionBackwardArgs<bf16> args) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Tile = AttentionBackwardWgmmaTile;
  auto& shared = shared_memory<AttentionBackwardWgmmaShared<HeadDim>>();
  const AttentionProblem& problem = args.problem;
  const int rows = ByKey ? problem.keys : problem.queries;
  const AttentionTask task = attention_task(ByKey ? problem.kv_heads : problem.heads, Tile::rows, !ByKey);
  const int warp = uniform(warp_index()), group = warp / 4, row = warp * Tile::rows_of_warp;  // where it multiplies
  if (thread_index() == 0) {
    shared.other_first.init();
    shared.other_second.init();
    shared.numbers.init();
    mbarrier_init(&shared.own_full, 1);
    mbarrier_init_fence();
  }
  if (group < Tile::groups) {
    const Band mine = find_band<ByKey, Tile::rows_of_warp>(problem, task.first_row + row, rows);
    if (lane_index() < Tile::rows_of_warp) store(&shared.bands[row + lane_index()], mine);
  }
  __syncthreads();
  const auto first_of = [&](int r) { return uniform(load(&shared.bands[r]).first); };
  const auto last_of = [&](int r) { return uniform(load(&shared.bands[r]).last); };
  const int kv_head = ByKey ? task.head : task.head / problem.group(), heads = ByKey ? problem.group() : 1;
  const AttentionBackwardTask block{.task = task,
                                    .kv_head = kv_head,
                                    .first_head = ByKey ? kv_head * heads : task.head,
                                    .heads = heads,
                                    .rows = rows,
                                    .others = ByKey ? problem.queries : problem.keys,
                                    .all = {first_of(0), last_of(Tile::rows - 1)}};
  if (group == Tile::groups) {
    give_registers<Tile::registers_to_fetch>();
    if (warp == Tile::groups * 4) attention_backward_fetch<HeadDim, ByKey>(shared, maps, args, block);
    return;
  }
  take_registers<Tile::registers>();
  const int group_row = group * Tile::rows_of_group;
  const bool exists = task.first_row + group_row < rows;  // else its bands are the last row's
  AttentionBackwardGroup<HeadDim, ByKey> walker{
      .shared = shared,
      .group = group,
      .row = row,
      .seen = exists ? Band{first_of(group_row), last_of(group_row + Tile::rows_of_group - 1)} : Band{0, 0},
      .factor = problem.scale * log2_of_e,
      .own = {}};
  if constexpr (!ByKey) {
    HONE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int wanted = task.first_row + row + lane_index() / 4 + half * 8, query = wanted < rows ? wanted : rows - 1;
      walker.own[half].lse = load(args.lse + task.head * args.lse_stride + query);
      walker.own[half].delta = load(args.delta + std::int64_t{task.head} * rows + query);
    }
  }
  float with_first[1][HeadDim / 8][4] = {}, with_second[1][ByKey ? HeadDim / 8 : 1][4] = {};
  if (block.all.first < block.all.last) mbarrier_wait(&shared.own_full, 0);
  walker.walk(with_first, with_second, block.all, heads);
  if (!exists) return;
  walker.meet();  // nobody multiplies the group's own rows any more
  scale_sums(with_first, problem.scale);
  const auto write = [&](const Rows<bf16>& result, auto& stage, const auto& sums) {
    if (result.data == nullptr) return;
    write_rows(sums, stage, row - group_row, head_of(result, task.head, HeadDim), task.first_row + row, rows,
               args.accumulate);
  };
  write(ByKey ? args.dk : args.dq, shared.own_first[group], with_first);
  if constexpr (ByKey) write(args.dv, shared.own_second[group], with_second);
#endif
}

// ---- launchers ----

namespace kernel_detail {

template <int HeadDim, bool ByKey>
void attention_backward_wgmma_pass(KernelDevice& device, const AttentionBackwardArgs<bf16>& args) {
  using Tile = AttentionBackwardWgmmaTile;
  using Shared = AttentionBackwardWgmmaShared<HeadDim>;
  const AttentionProblem& problem = args.problem;
  const auto map = [&](const Rows<const bf16>& matrix, int rows, int heads) {
    return span_map<typename Shared::Rows>(device, matrix, rows, std::int64_t{heads} * HeadDim);
  };
  const AttentionBackwardMaps maps{.dout = map(args.dout, problem.queries, problem.heads),
                                   .q = map(args.q, problem.queries, problem.heads),
                                   .k = map(args.k, problem.keys, problem.kv_heads),
                                   .v = map(args.v, problem.keys, problem.kv_heads)};
  launch(device, ByKey ? "attention_dkv_wgmma" : "attention_dq_wgmma",
         attention_shape(ByKey ? problem.keys : problem.queries, Tile::rows, ByKey ? problem.kv_heads : problem.heads,
                         Tile::threads, sizeof(Shared)),
         &attention_backward_wgmma_kernel<HeadDim, ByKey>, maps, args);
}

}  // namespace kernel_detail

}  // namespace HONE_TARGET
}  // namespace hone
