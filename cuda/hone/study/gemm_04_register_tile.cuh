// GEMM, rung 4 of 7: a thread makes 4 x 4 elements of c in registers, and 16 bytes travel at a time.
// Changed: 16 x 16 threads make 64 x 64 of c. A thread reads four elements of a and four of b from shared memory, the
// latter as one vector, and multiplies each with each. Tiles are filled by vectors of 16 bytes.
// Predict: five requests and 16 bytes of shared memory for 16 multiplications, where rung 3 had 32 requests and 64
// bytes. The larger tile halves the bytes from memory, and they come in 1 / 16 of the requests. Rows of a tile are 16
// bytes longer than what they hold: the two rows a warp reads together lie on different banks.
#pragma once

#include <hone/prim/fragments.cuh>
#include <hone/study/gemm_01_naive.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// The tile of c that blocks make from here on, and how much of k they take in one step.
struct StudyGemmTile {
  static constexpr int m = 64, n = 64, k = 64;
  static constexpr int side = 16, own = m / side;  // rung 4: threads along m and n, and elements of each
};

struct StudyGemmTiles {
  HalfTile<StudyGemmTile::m, StudyGemmTile::k> a;
  HalfTile<StudyGemmTile::k, StudyGemmTile::n> b;
};

/// Fills `tile` from (row, col) of `from`, through registers.
template <class Tile>
__device__ void study_fill(Tile& tile, const Rows<const bf16>& from, int row, int col, Where where = Where::here()) {
  constexpr int width = vector_width<bf16>, per_row = Tile::cols / width;
  for (int item = thread_index(); item < Tile::rows * per_row; item += block_threads()) {
    const int r = item / per_row, c = item % per_row * width;
    store(tile.at(r, c), load<width>(from.row(row + r) + col + c, where), where);
  }
}

template <class C>
__global__ void __launch_bounds__(256) gemm_04_kernel(StudyGemm<C> args) {
  using Tile = StudyGemmTile;
  auto& shared = shared_memory<StudyGemmTiles>();
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * Tile::m, col = static_cast<int>(blockIdx.x) * Tile::n;
  float sums[Tile::own][Tile::own] = {};  // of rows y, y + 16, ... and columns from 4 x
  for (int first = 0; first < args.k; first += Tile::k) {
    study_fill(shared.a, args.a, row, first);
    study_fill(shared.b, args.b, first, col);
    __syncthreads();
    for (int k = 0; k < Tile::k; ++k) {
      const auto right = load<Tile::own>(shared.b.at(k, x * Tile::own));
      HONE_UNROLL
      for (int i = 0; i < Tile::own; ++i) {
        const float left = to_float(load(shared.a.at(y + i * Tile::side, k)));
        HONE_UNROLL
        for (int j = 0; j < Tile::own; ++j) sums[i][j] += left * to_float(right[j]);
      }
    }
    __syncthreads();
  }
  HONE_UNROLL
  for (int i = 0; i < Tile::own; ++i) {
    Vec<C, Tile::own> values;
    HONE_UNROLL
    for (int j = 0; j < Tile::own; ++j) values[j] = from_float<C>(sums[i][j]);
    store(args.c.row(row + y + i * Tile::side) + col + x * Tile::own, values);
  }
}

/// A block for each tile of c; from here on m, n and k are multiples of 64, and rows start on multiples of 16 bytes.
inline gpu::LaunchShape study_tiles(int m, int n, unsigned threads_x, unsigned threads_y, std::size_t shared_bytes) {
  return {{grid_extent(n / StudyGemmTile::n), grid_extent(m / StudyGemmTile::m), 1},
          {threads_x, threads_y, 1},
          shared_bytes};
}

template <class C>
void gemm_04(KernelDevice& device, const StudyGemm<C>& args) {
  launch(device, "gemm_04",
         study_tiles(args.m, args.n, StudyGemmTile::side, StudyGemmTile::side, sizeof(StudyGemmTiles)),
         &gemm_04_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
