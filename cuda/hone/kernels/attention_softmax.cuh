// The running softmax of attention's forward kernels on tensor cores.
#pragma once

#include <hone/kernels/attention_tiles.cuh>
#include <hone/prim/fast_math.cuh>

#include <cmath>
#include <cstdint>

namespace hone {
inline namespace HONE_TARGET {

/// What the exponents of a row are measured from, and the sum of its exponentials: for the rows a lane holds parts of,
/// lane / 4 and lane / 4 + 8 of every fragment. The sum is over this lane's columns only, until the end.
template <int M>
struct RunningSoftmax {
  /// Base 2. The reference follows the row's maximum only when that has grown by more than this: exponentials of up to
  /// 2^8 are as exact as those below 1, and earlier sums seldom have to be scaled down again.
  static constexpr float slack = 8;

  float reference[M][2], total[M][2];

  __device__ void clear() {
    HONE_UNROLL
    for (int i = 0; i < M; ++i) {
      HONE_UNROLL
      for (int half = 0; half < 2; ++half) {
        reference[i][half] = -INFINITY;
        total[i][half] = 0;
      }
    }
  }

  /// Lets the reference of a row follow its scores; `factor` is scale log2(e) and positive. True where any row of the
  /// warp has a new one; earlier sums of the row are then to be multiplied by `shrink`.
  template <int N>
  __device__ bool follow(float& shrink, int i, int half, const float (&scores)[M][N][4], float factor,
                         Where where = Where::here()) {
    float top = -INFINITY;
    HONE_UNROLL
    for (int j = 0; j < N; ++j) top = fmaxf(top, fmaxf(scores[i][j][half * 2], scores[i][j][half * 2 + 1]));
    top = fmaxf(top, warp_xor(top, 1, where));
    top = fmaxf(top, warp_xor(top, 2, where)) * factor;
    const bool grows = top > reference[i][half] + slack;
    if (warp_ballot(grows, where) == 0) return false;
    shrink = grows ? exp2_fast(reference[i][half] - top) : 1.0f;
    if (grows) reference[i][half] = top;
    total[i][half] *= shrink;
    return true;
  }

  /// Gives keep(j, left, right) the row's exponentials 2^(factor score - reference), and adds them to its sum.
  template <int N, class Keep>
  __device__ void weigh(int i, int half, const float (&scores)[M][N][4], float factor, Keep&& keep) {
    const float shift = reference[i][half] == -INFINITY ? 0 : reference[i][half];  // a row that sees nothing yet
    HONE_UNROLL
    for (int j = 0; j < N; ++j) {
      const float left = exp2_fast(scores[i][j][half * 2] * factor - shift);
      const float right = exp2_fast(scores[i][j][half * 2 + 1] * factor - shift);
      total[i][half] += left + right;
      keep(j, left, right);
    }
  }

  template <int D>
  __device__ static void shrink_row(float (&sums)[M][D][4], int i, int half, float shrink) {
    HONE_UNROLL
    for (int j = 0; j < D; ++j) {
      HONE_UNROLL
      for (int e = half * 2; e < half * 2 + 2; ++e) sums[i][j][e] *= shrink;
    }
  }

  /// All of that for a tile: weights = 2^(factor score - reference), rounded.
  template <int N, int D>
  __device__ void turn(std::uint32_t (&weights)[M][N][2], const float (&scores)[M][N][4], float (&sums)[M][D][4],
                       float factor, Where where = Where::here()) {
    HONE_UNROLL
    for (int i = 0; i < M; ++i) {
      HONE_UNROLL
      for (int half = 0; half < 2; ++half) {
        float shrink = 1;
        if (follow(shrink, i, half, scores, factor, where)) shrink_row(sums, i, half, shrink);
        weigh(i, half, scores, factor,
              [&](int j, float left, float right) { weights[i][j][half] = pack_bf16(left, right); });
      }
    }
  }

  /// Divides by the rows' sums and writes their lse, for rows from `first` that are below `rows`.
  template <int D>
  __device__ void finish(float (&sums)[M][D][4], float* lse, int first, int rows, Where where = Where::here()) {
    HONE_UNROLL
    for (int i = 0; i < M; ++i) {
      HONE_UNROLL
      for (int half = 0; half < 2; ++half) {
        float sum = total[i][half];
        sum += warp_xor(sum, 1, where);
        sum += warp_xor(sum, 2, where);
        const int row = first + i * 16 + lane_index() / 4 + half * 8;
        if (lse != nullptr && lane_index() % 4 == 0 && row < rows)
          store(lse + row, reference[i][half] / log2_of_e + logf(sum), where);
        const float share = 1.0f / sum;
        HONE_UNROLL
        for (int j = 0; j < D; ++j) {
          HONE_UNROLL
          for (int e = half * 2; e < half * 2 + 2; ++e) sums[i][j][e] *= share;
        }
      }
    }
  }
};

}  // namespace HONE_TARGET
}  // namespace hone
