// GEMM, rung 3 of 7: a block reads tiles of both factors once and multiplies them from shared memory.
// Changed: 32 x 32 threads make 32 x 32 of c. For 32 of k at a time, each thread brings one element of a and one of b;
// a barrier, and all of them read all of it.
// Predict: each element that is read from memory serves 32 threads: 1 / 32 of rung 2's bytes. What it costs: two
// barriers for 32 of k, and two reads of shared memory for every multiplication, which now keep the threads waiting.
#pragma once

#include <hone/study/gemm_01_naive.cuh>

namespace hone {
inline namespace HONE_TARGET {

inline constexpr int study_gemm_side = 32;

struct StudyGemmSquares {
  bf16 a[study_gemm_side][study_gemm_side], b[study_gemm_side][study_gemm_side];
};

template <class C>
__global__ void __launch_bounds__(study_gemm_side* study_gemm_side) gemm_03_kernel(StudyGemm<C> args) {
  auto& shared = shared_memory<StudyGemmSquares>();
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * study_gemm_side + y;
  const int col = static_cast<int>(blockIdx.x) * study_gemm_side + x;
  float sum = 0;
  for (int first = 0; first < args.k; first += study_gemm_side) {
    store(&shared.a[y][x], load(args.a.row(row) + first + x));
    store(&shared.b[y][x], load(args.b.row(first + y) + col));
    __syncthreads();  // the tiles are there
    for (int k = 0; k < study_gemm_side; ++k) {
      const float left = to_float(load(&shared.a[y][k]));   // one address a warp
      const float right = to_float(load(&shared.b[k][x]));  // neighbours
      sum += left * right;
    }
    __syncthreads();  // nobody reads them any more
  }
  store(args.c.row(row) + col, from_float<C>(sum));
}

/// m, n and k are multiples of 32. kernels/matmul.cuh fills what lies outside with zeros.
template <class C>
void gemm_03(KernelDevice& device, const StudyGemm<C>& args) {
  const gpu::LaunchShape shape{{grid_extent(args.n / study_gemm_side), grid_extent(args.m / study_gemm_side), 1},
                               {study_gemm_side, study_gemm_side, 1},
                               sizeof(StudyGemmSquares)};
  launch(device, "gemm_03", shape, &gemm_03_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
