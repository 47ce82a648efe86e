// Tiles of attention on tensor cores: filling them, masking their scores, writing results.
#pragma once

#include <hone/kernels/attention_band.cuh>
#include <hone/prim/async_copy.cuh>
#include <hone/prim/fragments.cuh>

#include <cmath>
#include <cstdint>

namespace hone {
inline namespace HONE_TARGET {

/// Kernels of tensor cores run blocks of this many warps.
inline constexpr int attention_warps = 4;
inline constexpr int attention_threads = attention_warps * warp_lanes;

inline constexpr float log2_of_e = 1.44269504088896340736f;

/// Starts filling `tile` with rows [first, first + Tile::rows) of `from`; rows from `rows` on become zero.
template <class Tile>
__device__ void fill_rows(Tile& tile, const Rows<const bf16>& from, int first, int rows, Where where = Where::here()) {
  constexpr int width = vector_width<bf16>, per_row = Tile::cols / width;
  for (int item = thread_index(); item < Tile::rows * per_row; item += attention_threads) {
    const int r = item / per_row, c = item % per_row * width;
    const bool inside = first + r < rows;
    const bf16* source = inside ? from.row(first + r) + c : from.data;  // with nothing to read still a valid address
    async_copy16(tile.at(r, c), source, inside ? 16 : 0, where);
  }
}

/// Scores of positions that a row does not see become -infinity: `bands` are those of the warp's 16 M rows, column 0 is
/// position `first`.
template <int M, int N>
__device__ void mask_scores(float (&scores)[M][N][4], const Band* bands, int first) {
  HONE_UNROLL
  for (int i = 0; i < M; ++i) {
    HONE_UNROLL
    for (int half = 0; half < 2; ++half) {
      // Measured from the lane's first column, so that columns are constants.
      const Band band = bands[i * 16 + lane_index() / 4 + half * 8];
      const int origin = first + lane_index() % 4 * 2, begin = band.first - origin, end = band.last - origin;
      HONE_UNROLL
      for (int j = 0; j < N; ++j) {
        HONE_UNROLL
        for (int e = 0; e < 2; ++e) {
          if (j * 8 + e < begin || j * 8 + e >= end) scores[i][j][half * 2 + e] = -INFINITY;
        }
      }
    }
  }
}

/// Writes the warp's sums (16 M, 8 N) to rows of `out` from `first` on, as far as `rows` goes, by way of its own rows
/// of `stage` (from `row`): 16 bytes a store. `accumulate` adds the rounded sums to what is there.
template <int M, int N, class Tile>
__device__ void write_rows(const float (&sums)[M][N][4], Tile& stage, int row, const Rows<bf16>& out, int first,
                           int rows, bool accumulate, Where where = Where::here()) {
  constexpr int width = vector_width<bf16>, per_row = Tile::cols / width;
  store_sums_to(stage, row, sums, where);
  __syncwarp();
  for (int item = lane_index(); item < 16 * M * per_row; item += warp_lanes) {
    const int r = item / per_row, c = item % per_row * width;
    if (first + r >= rows) return;
    auto values = load<width>(stage.at(row + r, c), where);
    bf16* to = out.row(first + r) + c;
    if (accumulate) {
      const auto before = load<width>(to, where);
      HONE_UNROLL
      for (int i = 0; i < width; ++i) values[i] = from_float<bf16>(to_float(before[i]) + to_float(values[i]));
    }
    store(to, values, where);
  }
}

}  // namespace HONE_TARGET
}  // namespace hone
