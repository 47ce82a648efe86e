// Products of a warp on tensor cores: tiles of bf16 in shared memory, fragments in registers (mma.cuh has the layouts).
// A matrix of 16 M rows and 8 N columns that a warp sums is float[M][N][4]. All 32 lanes call.
#pragma once

#include <hone/prim/fast_math.cuh>
#include <hone/prim/mma.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>

#include <cstdint>

namespace hone {
inline namespace HONE_TARGET {

/// A tile in shared memory. Rows are padded by 16 bytes: for 64, 96 or 128 columns the eight rows that ldmatrix reads
/// together then lie on different banks.
template <int RowCount, int ColCount>
struct alignas(128) HalfTile {
  static constexpr int rows = RowCount, cols = ColCount, stride = ColCount + 8;
  bf16 elements[RowCount * stride];

  __device__ bf16* at(int row, int col) { return elements + row * stride + col; }
  __device__ const bf16* at(int row, int col) const { return elements + row * stride + col; }
};

/// Left factor: 16 rows of `tile` from `row`, 16 columns from `col`.
template <class Tile>
__device__ void load_left(std::uint32_t (&fragment)[4], const Tile& tile, int row, int col,
                          Where where = Where::here()) {
  const int matrix = lane_index() / 8, line = lane_index() % 8;
  ldmatrix_x4<false>(fragment, tile.at(row + line + matrix % 2 * 8, col + matrix / 2 * 8), where);
}

/// Left factor that lies transposed: 16 rows of it are columns of `tile` from `col`, summed over 16 rows from `row`.
template <class Tile>
__device__ void load_left_transposed(std::uint32_t (&fragment)[4], const Tile& tile, int row, int col,
                                     Where where = Where::here()) {
  const int matrix = lane_index() / 8, line = lane_index() % 8;
  ldmatrix_x4<true>(fragment, tile.at(row + line + matrix / 2 * 8, col + matrix % 2 * 8), where);
}

/// Right factor whose columns are rows of `tile`: 16 of them from `row`, summed over 16 columns from `col`. Registers
/// 0, 1 serve the first eight, 2, 3 the others.
template <class Tile>
__device__ void load_right_transposed(std::uint32_t (&fragments)[4], const Tile& tile, int row, int col,
                                      Where where = Where::here()) {
  const int matrix = lane_index() / 8, line = lane_index() % 8;
  ldmatrix_x4<false>(fragments, tile.at(row + line + matrix / 2 * 8, col + matrix % 2 * 8), where);
}

/// Right factor as it lies: summed over 16 rows of `tile` from `row`, 16 columns from `col`.
template <class Tile>
__device__ void load_right(std::uint32_t (&fragments)[4], const Tile& tile, int row, int col,
                           Where where = Where::here()) {
  const int matrix = lane_index() / 8, line = lane_index() % 8;
  ldmatrix_x4<true>(fragments, tile.at(row + line + matrix % 2 * 8, col + matrix / 2 * 8), where);
}

/// sums[j], sums[j + 1] of every row fragment += left * right, with `right` as the loads above leave it.
template <int M, int N>
__device__ void multiply_pair(float (&sums)[M][N][4], int j, const std::uint32_t (&left)[M][4],
                              const std::uint32_t (&right)[4], Where where = Where::here()) {
  const std::uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
  HONE_UNROLL
  for (int i = 0; i < M; ++i) {
    mma_m16n8k16(sums[i][j], left[i], first, where);
    mma_m16n8k16(sums[i][j + 1], left[i], second, where);
  }
}

/// sums (16 M, 8 N) += a b^T: rows of `a` from `row`, all columns; b has 8 N rows.
template <int M, int N, class TileA, class TileB>
__device__ void add_product_transposed(float (&sums)[M][N][4], const TileA& a, int row, const TileB& b,
                                       Where where = Where::here()) {
  static_assert(TileA::cols == TileB::cols && TileA::cols % 16 == 0 && TileB::rows == 8 * N && N % 2 == 0);
  HONE_UNROLL
  for (int k = 0; k < TileA::cols; k += 16) {
    std::uint32_t left[M][4];
    HONE_UNROLL
    for (int i = 0; i < M; ++i) load_left(left[i], a, row + i * 16, k, where);
    HONE_UNROLL
    for (int j = 0; j < N; j += 2) {
      std::uint32_t right[4];
      load_right_transposed(right, b, j * 8, k, where);
      multiply_pair(sums, j, left, right, where);
    }
  }
}

/// Sums (16 M, 8 N) of this warp rounded to bf16, in pairs of columns: a register for row lane / 4, one for the row
/// eight below. This is the layout of a left factor too.
template <int M, int N>
__device__ void round_sums(std::uint32_t (&rounded)[M][N][2], const float (&sums)[M][N][4]) {
  HONE_UNROLL
  for (int i = 0; i < M; ++i) {
    HONE_UNROLL
    for (int j = 0; j < N; ++j) {
      HONE_UNROLL
      for (int half = 0; half < 2; ++half)
        rounded[i][j][half] = pack_bf16(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
    }
  }
}

/// sums (16 M, 8 N) += a b, where `a` (16 M, 8 K) are rounded sums. b has 8 K rows.
template <int M, int N, int K, class Tile>
__device__ void add_product(float (&sums)[M][N][4], const std::uint32_t (&a)[M][K][2], const Tile& b,
                            Where where = Where::here()) {
  static_assert(Tile::rows == 8 * K && Tile::cols == 8 * N && K % 2 == 0 && N % 2 == 0);
  HONE_UNROLL
  for (int k = 0; k < K; k += 2) {
    std::uint32_t left[M][4];
    HONE_UNROLL
    for (int i = 0; i < M; ++i) {
      HONE_UNROLL
      for (int r = 0; r < 4; ++r) left[i][r] = a[i][k + r / 2][r % 2];
    }
    HONE_UNROLL
    for (int j = 0; j < N; j += 2) {
      std::uint32_t right[4];
      load_right(right, b, k * 8, j * 8, where);
      multiply_pair(sums, j, left, right, where);
    }
  }
}

/// Writes sums (16 M, 8 N), rounded, to the rows of `tile` from `row`.
template <int M, int N, class Tile>
__device__ void store_sums_to(Tile& tile, int row, const float (&sums)[M][N][4], Where where = Where::here()) {
  HONE_UNROLL
  for (int i = 0; i < M; ++i) {
    HONE_UNROLL
    for (int j = 0; j < N; ++j) {
      HONE_UNROLL
      for (int half = 0; half < 2; ++half) {
        bf16* to = tile.at(row + i * 16 + lane_index() / 4 + half * 8, j * 8 + lane_index() % 4 * 2);
        store(reinterpret_cast<std::uint32_t*>(to), pack_bf16(sums[i][j][half * 2], sums[i][j][half * 2 + 1]), where);
      }
    }
  }
}

}  // namespace HONE_TARGET
}  // namespace hone
