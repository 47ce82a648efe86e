// GEMM, rung 5 of 7: tensor cores multiply.
// Changed: a warp makes 32 x 32 of c by mma.sync, whose one instruction adds a product of 16 x 16 and 16 x 8. Its
// factors are fragments in the registers of all 32 lanes, which ldmatrix brings from the same tiles as before.
// Predict: the same bytes from memory in the same requests; every multiplication is one of a tensor core. For 16 of k
// a warp reads 32 rows of a and 32 columns of b, 2 KB, for 32 x 32 x 16 multiplications: 1 / 8 of a byte each, 8 times
// less than rung 4. Four warps are enough to make the tile. What is left: while the tile of the next step comes, the
// tensor cores wait.
#pragma once

#include <hone/study/gemm_04_register_tile.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// Four warps share a tile of c, 2 x 2 of them.
struct StudyGemmWarps {
  static constexpr int count = 4, across = 2;
  static constexpr int m = StudyGemmTile::m / across, n = StudyGemmTile::n / across;  // of a warp
  static constexpr int threads = count * 32;
};

using StudyGemmSums = float[StudyGemmWarps::m / 16][StudyGemmWarps::n / 8][4];

/// First row and column of this warp in the tile.
__device__ inline int study_warp_row() { return warp_index() / StudyGemmWarps::across * StudyGemmWarps::m; }
__device__ inline int study_warp_col() { return warp_index() % StudyGemmWarps::across * StudyGemmWarps::n; }

/// Adds the product of two tiles to the warp's sums.
template <class TileA, class TileB>
__device__ void study_multiply(StudyGemmSums& sums, const TileA& a, const TileB& b) {
  constexpr int rows = StudyGemmWarps::m / 16, columns = StudyGemmWarps::n / 8;
  HONE_UNROLL
  for (int k = 0; k < TileA::cols; k += 16) {
    std::uint32_t left[rows][4];
    HONE_UNROLL
    for (int i = 0; i < rows; ++i) load_left(left[i], a, study_warp_row() + i * 16, k);
    HONE_UNROLL
    for (int j = 0; j < columns; j += 2) {
      std::uint32_t right[4];
      load_right(right, b, k, study_warp_col() + j * 8);
      multiply_pair(sums, j, left, right);
    }
  }
}

/// Writes the warp's sums to c. A lane has two neighbours of a row at a time, the four lanes of a row eight: one sector
/// of float. kernels/matmul.cuh shows what bf16 needs.
template <class C>
__device__ void study_store(const StudyGemmSums& sums, const Rows<C>& c, int row, int col) {
  HONE_UNROLL
  for (int i = 0; i < StudyGemmWarps::m / 16; ++i) {
    HONE_UNROLL
    for (int j = 0; j < StudyGemmWarps::n / 8; ++j) {
      HONE_UNROLL
      for (int half = 0; half < 2; ++half) {
        C* to = c.row(row + i * 16 + lane_index() / 4 + half * 8) + col + j * 8 + lane_index() % 4 * 2;
        store(to, Vec<C, 2>{{from_float<C>(sums[i][j][half * 2]), from_float<C>(sums[i][j][half * 2 + 1])}});
      }
    }
  }
}

template <class C>
__global__ void __launch_bounds__(StudyGemmWarps::threads) gemm_05_kernel(StudyGemm<C> args) {
  using Tile = StudyGemmTile;
  auto& shared = shared_memory<StudyGemmTiles>();
  const int row = static_cast<int>(blockIdx.y) * Tile::m, col = static_cast<int>(blockIdx.x) * Tile::n;
  StudyGemmSums sums = {};
  for (int k = 0; k < args.k; k += Tile::k) {
    study_fill(shared.a, args.a, row, k);
    study_fill(shared.b, args.b, k, col);
    __syncthreads();
    study_multiply(sums, shared.a, shared.b);
    __syncthreads();
  }
  study_store(sums, args.c, row + study_warp_row(), col + study_warp_col());
}

template <class C>
void gemm_05(KernelDevice& device, const StudyGemm<C>& args) {
  launch(device, "gemm_05", study_tiles(args.m, args.n, StudyGemmWarps::threads, 1, sizeof(StudyGemmTiles)),
         &gemm_05_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
