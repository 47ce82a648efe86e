// GEMM, rung 2 of 7: neighbours in a warp are neighbours in memory.
// Changed: x and y change places, so that the threads of a warp take neighbouring columns of c.
// Predict: for each k they share one element of a (one sector) and want 32 neighbours of a row of b: 64 bytes, two
// sectors. 3 sectors for 32 multiplications instead of 33, and a store fills whole sectors. What stays: every thread
// reads a row of a and a column of b for itself, so each element of a is asked for n times and each of b m times.
#pragma once

#include <hone/study/gemm_01_naive.cuh>

namespace hone {
inline namespace HONE_TARGET {

template <class C>
__global__ void gemm_02_kernel(StudyGemm<C> args) {
  study_element(args, static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y),
                static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
}

template <class C>
void gemm_02(KernelDevice& device, const StudyGemm<C>& args) {
  const gpu::LaunchShape shape{
      {grid_extent(ceil_div(args.n, study_gemm_lanes)), grid_extent(ceil_div(args.m, study_gemm_lines)), 1},
      {study_gemm_lanes, study_gemm_lines, 1},
      0};
  launch(device, "gemm_02", shape, &gemm_02_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
