// Attention, rung 3 of 4: both products on tensor cores (Dao, 2023).
// Changed: a warp takes 16 queries. Their scores against 64 keys are fragments of mma.sync, in which four lanes share a
// row: the row's maximum goes around those four. Rounded to bf16, the weights lie in registers just as the second
// product wants its left factor, so that they need not move. Only the tile on the diagonal is masked.
// Predict: 4 x 64 x 64 x 64 operations of tensor cores for a tile of queries and one of keys. For 16 x 64 scores a warp
// reads 16 rows of q and 64 of k and of v from shared memory, 18 KB: 18 bytes a score instead of 256, though half of
// the diagonal's are computed for nothing. Global traffic is rung 2's.
#pragma once

#include <hone/study/attention_02_online_tiles.cuh>

namespace hone {
inline namespace HONE_TARGET {

struct StudyWarps {
  static constexpr int count = 4, rows = study_rows / count, threads = count * 32;
};

/// (16, 64) of a warp.
using StudyScores = float[1][study_rows / 8][4];
using StudySums = float[1][study_head_dim / 8][4];

/// The running softmax of the two rows that a lane has parts of, lane / 4 and lane / 4 + 8 of the warp's 16.
struct StudyRunning {
  float max[2] = {Max::identity, Max::identity};
  float total[2] = {};  // over this lane's columns, until the end

  /// weights = exp(scale score - max), rounded; `sums` and `total` of earlier tiles are brought to the new maximum.
  __device__ void turn(std::uint32_t (&weights)[1][study_rows / 8][2], StudyScores& scores, StudySums& sums,
                       float scale) {
    HONE_UNROLL
    for (int half = 0; half < 2; ++half) {
      float top = max[half];
      HONE_UNROLL
      for (int j = 0; j < study_rows / 8; ++j) {
        HONE_UNROLL
        for (int e = half * 2; e < half * 2 + 2; ++e) top = fmaxf(top, scores[0][j][e] *= scale);
      }
      top = fmaxf(top, warp_xor(top, 1));
      top = fmaxf(top, warp_xor(top, 2));
      const float shrink = expf(max[half] - top);
      max[half] = top;
      total[half] *= shrink;
      HONE_UNROLL
      for (int j = 0; j < study_head_dim / 8; ++j) {
        HONE_UNROLL
        for (int e = half * 2; e < half * 2 + 2; ++e) sums[0][j][e] *= shrink;
      }
      HONE_UNROLL
      for (int j = 0; j < study_rows / 8; ++j) {
        const float left = expf(scores[0][j][half * 2] - top), right = expf(scores[0][j][half * 2 + 1] - top);
        total[half] += left + right;
        weights[0][j][half] = pack_bf16(left, right);
      }
    }
  }
};

/// Adds one tile of keys and values to the results of the warp's rows, which begin at query `row`; the tile's at `key`.
__device__ inline void study_attend(StudyRunning& running, StudySums& sums, const StudyHeadTile& q,
                                    const StudyHeadTile& k, const StudyHeadTile& v, int row, int key, float scale) {
  StudyScores scores = {};
  add_product_transposed(scores, q, row % study_rows, k);
  if (key + study_rows > row) {  // on the diagonal: the first row does not see the last key
    HONE_UNROLL
    for (int j = 0; j < study_rows / 8; ++j) {
      HONE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int query = row + lane_index() / 4 + e / 2 * 8, position = key + j * 8 + lane_index() % 4 * 2 + e % 2;
        if (position > query) scores[0][j][e] = -INFINITY;
      }
    }
  }
  std::uint32_t weights[1][study_rows / 8][2];
  running.turn(weights, scores, sums, scale);
  add_product(sums, weights, v);
}

/// Divides by the rows' totals and writes the rows that exist.
template <class C>
__device__ void study_finish(const StudyRunning& running, const StudySums& sums, const Rows<C>& out, int row,
                             int length) {
  HONE_UNROLL
  for (int half = 0; half < 2; ++half) {
    float total = running.total[half];
    total += warp_xor(total, 1);
    total += warp_xor(total, 2);
    const int query = row + lane_index() / 4 + half * 8;
    if (query >= length) continue;
    HONE_UNROLL
    for (int j = 0; j < study_head_dim / 8; ++j) {
      C* to = out.row(query) + j * 8 + lane_index() % 4 * 2;
      const float left = sums[0][j][half * 2] / total, right = sums[0][j][half * 2 + 1] / total;
      store(to, Vec<C, 2>{{from_float<C>(left), from_float<C>(right)}});
    }
  }
}

struct StudyAttentionShared {
  StudyHeadTile q, k, v;
};

template <class C>
__global__ void __launch_bounds__(StudyWarps::threads) attention_03_kernel(StudyAttention<C> args) {
  auto& shared = shared_memory<StudyAttentionShared>();
  const int head = static_cast<int>(blockIdx.y), first = static_cast<int>(blockIdx.x) * study_rows;
  const int row = first + warp_index() * StudyWarps::rows;
  study_fill_rows(shared.q, study_head(args.q, head), first, args.length);
  StudySums sums = {};
  StudyRunning running;
  for (int key = 0; key <= first; key += study_rows) {
    __syncthreads();  // the tiles before are done with
    study_fill_rows(shared.k, study_head(args.k, head), key, args.length);
    study_fill_rows(shared.v, study_head(args.v, head), key, args.length);
    __syncthreads();
    study_attend(running, sums, shared.q, shared.k, shared.v, row, key, args.scale);
  }
  study_finish(running, sums, study_head(args.out, head), row, args.length);
}

template <class C>
void attention_03(KernelDevice& device, const StudyAttention<C>& args) {
  launch(device, "attention_03", study_blocks(args, StudyWarps::threads, sizeof(StudyAttentionShared)),
         &attention_03_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
