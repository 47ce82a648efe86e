// GEMM, rung 6 of 7: tiles come while others are multiplied.
// Changed: cp.async copies to shared memory past the registers, and three buffers go round: while the warps multiply
// step s, steps s + 1 and s + 2 are under way. Rows are no longer padded; instead the 16-byte piece p of row r lies in
// place p xor (r mod 8), so that the same piece of eight rows, which is what ldmatrix reads, lies on different banks.
// Predict: the same bytes, none of them through registers; no bank conflict without padding; one barrier a step instead
// of two, since the buffer that is refilled was left a step ago; the same sums to the bit. On a card the time of a step
// is now the longer of copying and multiplying, no longer both.
#pragma once

#include <hone/prim/async_copy.cuh>
#include <hone/study/gemm_05_tensor_cores.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// A tile of 64 columns, its 16-byte pieces exchanged within each row of 128 bytes.
template <int RowCount>
struct alignas(128) SwizzledTile {
  static constexpr int rows = RowCount, cols = 64;
  bf16 elements[rows * cols];

  __device__ static int offset(int row, int col) { return row * cols + ((col / 8) ^ (row % 8)) * 8 + col % 8; }
  __device__ bf16* at(int row, int col) { return elements + offset(row, col); }
  __device__ const bf16* at(int row, int col) const { return elements + offset(row, col); }
};

struct StudyGemmStages {
  static constexpr int count = 3;
  SwizzledTile<StudyGemmTile::m> a[count];
  SwizzledTile<StudyGemmTile::k> b[count];
};

/// Starts filling `tile` from (row, col) of `from`.
template <class Tile>
__device__ void study_fill_async(Tile& tile, const Rows<const bf16>& from, int row, int col,
                                 Where where = Where::here()) {
  constexpr int width = vector_width<bf16>, per_row = Tile::cols / width;
  for (int item = thread_index(); item < Tile::rows * per_row; item += block_threads()) {
    const int r = item / per_row, c = item % per_row * width;
    async_copy16(tile.at(r, c), from.row(row + r) + col + c, 16, where);
  }
}

template <class C>
__global__ void __launch_bounds__(StudyGemmWarps::threads) gemm_06_kernel(StudyGemm<C> args) {
  using Tile = StudyGemmTile;
  constexpr int stages = StudyGemmStages::count;
  auto& shared = shared_memory<StudyGemmStages>();
  const int row = static_cast<int>(blockIdx.y) * Tile::m, col = static_cast<int>(blockIdx.x) * Tile::n;
  const int steps = args.k / Tile::k;
  const auto fill = [&](int step) {
    if (step < steps) {
      study_fill_async(shared.a[step % stages], args.a, row, step * Tile::k);
      study_fill_async(shared.b[step % stages], args.b, step * Tile::k, col);
    }
    async_commit();  // an empty group too: groups count steps
  };
  HONE_UNROLL
  for (int step = 0; step < stages - 1; ++step) fill(step);
  StudyGemmSums sums = {};
  for (int step = 0; step < steps; ++step) {
    async_wait<stages - 2>();  // all but the newest
    __syncthreads();           // others' copies of this step have landed, and the step before is multiplied
    fill(step + stages - 1);   // where the step before was
    study_multiply(sums, shared.a[step % stages], shared.b[step % stages]);
  }
  study_store(sums, args.c, row + study_warp_row(), col + study_warp_col());
}

template <class C>
void gemm_06(KernelDevice& device, const StudyGemm<C>& args) {
  launch(device, "gemm_06", study_tiles(args.m, args.n, StudyGemmWarps::threads, 1, sizeof(StudyGemmStages)),
         &gemm_06_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
