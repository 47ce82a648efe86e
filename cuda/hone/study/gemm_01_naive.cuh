// GEMM, rung 1 of 7: a thread takes an element of c.
//   c = a b:  c[i][j] = sum over k of a[i][k] b[k][j]
// Factors are bf16, sums fp32. The threads of a warp take neighbouring rows of c, as a loop over rows would be cut up.
// Predict: for each k the 32 threads want 32 elements of a column of a, which lie a row apart: 32 sectors of 32 bytes
// for 64 bytes that are wanted. The element of b they share: one sector. 33 sectors for 32 multiplications, where 1 /
// 16 of a's traffic is wanted; and every store of a warp goes to 32 rows of c.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// What every rung of this ladder is given.
template <class C>
struct StudyGemm {
  Rows<const bf16> a;  // (m, k)
  Rows<const bf16> b;  // (k, n)
  Rows<C> c;           // (m, n)
  int m, n, k;
};

inline constexpr int study_gemm_lanes = 32, study_gemm_lines = 8;  // threads of a block, along x and y

/// One element of c, by one thread.
template <class C>
__device__ void study_element(const StudyGemm<C>& args, int row, int col) {
  if (row >= args.m || col >= args.n) return;
  float sum = 0;
  for (int k = 0; k < args.k; ++k) {
    const float left = to_float(load(args.a.row(row) + k));
    const float right = to_float(load(args.b.row(k) + col));
    sum += left * right;
  }
  store(args.c.row(row) + col, from_float<C>(sum));
}

template <class C>
__global__ void gemm_01_kernel(StudyGemm<C> args) {
  study_element(args, static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x),
                static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y));
}

template <class C>
void gemm_01(KernelDevice& device, const StudyGemm<C>& args) {
  const gpu::LaunchShape shape{
      {grid_extent(ceil_div(args.m, study_gemm_lanes)), grid_extent(ceil_div(args.n, study_gemm_lines)), 1},
      {study_gemm_lanes, study_gemm_lines, 1},
      0};
  launch(device, "gemm_01", shape, &gemm_01_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
