// GEMM, rung 7 of 7: Hopper's copies and products, which need no threads (sm_90a).
// Changed: one thread of a fifth warp asks TMA for whole tiles, which swizzles them by rung 6's rule, and counts them
// on an mbarrier; four warps together give wgmma both factors where they lie in shared memory: 64 x 128 of c for 16 of
// k. A buffer goes back by a second mbarrier when all four warps have done with it. Nobody meets anybody else in
// between. Predict: no thread loads or stores an element of a factor, or works out an address of one. For 16 of k the
// tensor cores read 64 rows of a and 128 columns of b, 6 KB, for 64 x 128 x 16 multiplications: 3 / 64 of a byte each,
// 8 / 3 times less than rung 6, which read each row once for every two warps. A warp issues one wgmma where it issued 4
// ldmatrix and 8 mma, for twice the multiplications.
#pragma once

#include <hone/prim/mbarrier.cuh>
#include <hone/prim/tma.cuh>
#include <hone/prim/warp.cuh>
#include <hone/prim/wgmma.cuh>
#include <hone/study/gemm_01_naive.cuh>

namespace hone {
inline namespace HONE_TARGET {

struct StudyWgmma {
  static constexpr int m = 64, n = 128, k = 64, stages = 4;
  static constexpr int consumers = 4, threads = (consumers + 1) * 32;  // warps that multiply, and one that copies
  static constexpr int span = 64;                                      // columns of a swizzled row of 128 bytes
};

struct alignas(1024) StudyWgmmaShared {
  using Tile = StudyWgmma;
  bf16 a[Tile::stages][Tile::m * Tile::k];                           // rows of 64 of k
  bf16 b[Tile::stages][Tile::n / Tile::span][Tile::k * Tile::span];  // for each 64 columns, rows of them
  std::uint64_t empty[Tile::stages], full[Tile::stages];
};

#if !defined(__CUDACC__) || !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// The fifth warp, of which one lane works.
__device__ inline void study_copy_tiles(StudyWgmmaShared& shared, const TensorMap& a, const TensorMap& b, int row,
                                        int col, int steps) {
  using Tile = StudyWgmma;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % Tile::stages, turn = step / Tile::stages;
    if (turn > 0) mbarrier_wait(&shared.empty[stage], static_cast<unsigned>(turn - 1) % 2);
    mbarrier_arrive_expect(&shared.full[stage], sizeof(shared.a[0]) + sizeof(shared.b[0]));
    tma_load(shared.a[stage], a, &shared.full[stage], step * Tile::k, row);
    for (int part = 0; part < Tile::n / Tile::span; ++part)
      tma_load(shared.b[stage][part], b, &shared.full[stage], col + part * Tile::span, step * Tile::k);
  }
}

/// The other four: sums of 64 x 128, in wgmma's order.
__device__ inline void study_multiply_tiles(float (&sums)[StudyWgmma::n / 2], StudyWgmmaShared& shared, int steps) {
  using Tile = StudyWgmma;
  constexpr int row_bytes = 128, eight_rows = 8 * row_bytes;
  const auto release = [&](int step) {
    if (lane_index() == 0) mbarrier_arrive(&shared.empty[step % Tile::stages]);
  };
  for (int step = 0; step < steps; ++step) {
    const int stage = step % Tile::stages;
    mbarrier_wait(&shared.full[stage], static_cast<unsigned>(step / Tile::stages) % 2);
    wgmma_fence();
    HONE_UNROLL
    for (int k = 0; k < Tile::k; k += 16) {
      const auto a = wgmma_descriptor(shared.a[stage] + k, 0, eight_rows, Swizzle::b128);
      const auto b =
          wgmma_descriptor(shared.b[stage][0] + k * Tile::span, sizeof(shared.b[0][0]), eight_rows, Swizzle::b128);
      wgmma<Tile::n, false, true>(sums, a, b, true);
    }
    wgmma_commit();
    wgmma_wait<1>();  // the step before is done with its buffer; this one goes on
    if (step > 0) release(step - 1);
  }
  wgmma_wait<0>();
}

#endif

/// Empty where the instructions do not exist.
template <class C>
__global__ void __launch_bounds__(StudyWgmma::threads)
    gemm_07_kernel(TensorMap const __grid_constant__ a, TensorMap const __grid_constant__ b, Rows<C> c, int steps) {
#if !defined(__CUDACC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Tile = StudyWgmma;
  auto& shared = shared_memory<StudyWgmmaShared>();
  const int row = static_cast<int>(blockIdx.y) * Tile::m, col = static_cast<int>(blockIdx.x) * Tile::n;
  if (thread_index() == 0) {
    for (int stage = 0; stage < Tile::stages; ++stage) {
      mbarrier_init(&shared.full[stage], 1);
      mbarrier_init(&shared.empty[stage], Tile::consumers);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (warp_index() == Tile::consumers) {
    if (lane_index() == 0) study_copy_tiles(shared, a, b, row, col, steps);
    return;
  }
  float sums[Tile::n / 2] = {};
  study_multiply_tiles(sums, shared, steps);
  HONE_UNROLL
  for (int i = 0; i < Tile::n / 2; i += 2) {
    C* to = c.row(row + warp_index() * 16 + lane_index() / 4 + i % 4 / 2 * 8) + col + i / 4 * 8 + lane_index() % 4 * 2;
    store(to, Vec<C, 2>{{from_float<C>(sums[i]), from_float<C>(sums[i + 1])}});
  }
#endif
}

/// m and k are multiples of 64, n of 128; rows start on multiples of 16 bytes. Throws Error on a card without wgmma.
template <class C>
void gemm_07(KernelDevice& device, const StudyGemm<C>& args) {
  using Tile = StudyWgmma;
  check(device.target().sm == 90, "[study] gemm_07 needs wgmma (sm_90a); this device is sm_{}", device.target().sm);
  const auto tiles = [&](const Rows<const bf16>& factor, int rows, int cols) {
    return tensor_map(device, factor.data,
                      TileGeometry{.extents = {cols, rows, 1, 1, 1},
                                   .strides = {1, factor.stride, 0, 0, 0},
                                   .box = {Tile::span, 64, 1, 1, 1},
                                   .swizzle = Swizzle::b128});
  };
  const gpu::LaunchShape shape{{grid_extent(args.n / Tile::n), grid_extent(args.m / Tile::m), 1},
                               {Tile::threads, 1, 1},
                               sizeof(StudyWgmmaShared)};
  launch(device, "gemm_07", shape, &gemm_07_kernel<C>, tiles(args.a, args.m, args.k), tiles(args.b, args.k, args.n),
         args.c, args.k / Tile::k);
}

}  // namespace HONE_TARGET
}  // namespace hone
