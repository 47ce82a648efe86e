// Compiles the primitives that no kernel uses yet for a card. Nothing here runs:
//   nvcc -std=c++20 -arch=sm_90a -Iinclude -Icuda -Werror all-warnings -c cuda/prim_check.cu -o /dev/null
#include <hone/prim/atomic.cuh>
#include <hone/prim/cluster.cuh>
#include <hone/prim/mma.cuh>
#include <hone/prim/named_barrier.cuh>
#include <hone/prim/tma.cuh>
#include <hone/prim/warp.cuh>
#include <hone/prim/wgmma.cuh>

namespace hone {
inline namespace HONE_TARGET {

__global__ void integers_kernel(int* out, unsigned long long* wide) {
  const int lane = lane_index();
  const std::uint32_t low = 0xffffu;
  int sum = warp_shuffle(lane, 3) + warp_down(lane, 1) + warp_up(lane, 1);
  if (lane < 16) sum += warp_xor(low, lane, 1) + warp_any(low, lane == 2) + warp_all(low, lane != 2);
  if (lane < 16) sum += static_cast<int>(warp_match(low, lane));
  warp_barrier();
  named_barrier_arrive(1, 64);
  named_barrier_sync(2, 64);
  atomic_add(out, sum);
  atomic_max(out + 1, sum);
  atomic_exchange(out + 2, sum);
  atomic_compare_exchange(out + 3, 0, sum);
  memory_fence();
  atomic_add(wide, 1);
}

/// Empty before sm_90.
__global__ void cluster_kernel(int* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  auto& shared = shared_memory<int>();
  shared = cluster_rank();
  cluster_sync();
  const int next = *cluster_map(&shared, (cluster_rank() + 1) % cluster_size());
  cluster_arrive();
  out[threadIdx.x] = next;
  cluster_wait();
#endif
}

template <class T>
__global__ void fragments_kernel(float* out) {
  auto* tile = &shared_memory<uint4>();
  std::uint32_t a[4], half[2], b[2], quarter[1];
  ldmatrix_x4<false>(a, tile + threadIdx.x);
  ldmatrix_x2<true>(b, tile + threadIdx.x);
  ldmatrix_x2<false>(half, tile + threadIdx.x);
  ldmatrix_x1<true>(quarter, tile + threadIdx.x);
  float d[4] = {};
  mma_m16n8k16<T>(d, a, b);
  mma_m16n8k8<T>(d, half, quarter);
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = d[i];
}
template __global__ void fragments_kernel<bf16>(float*);
template __global__ void fragments_kernel<fp16>(float*);

struct alignas(1024) ProductShared {
  bf16 a[64 * 64], b[64 * 64];
  std::uint64_t full;
};

/// The whole way of a tile on sm_90a: tensor map, mbarrier, wgmma, bulk store. Empty elsewhere.
template <int N>
__global__ void product_kernel(const __grid_constant__ TensorMap map, float* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  auto& shared = shared_memory<ProductShared>();
  if (threadIdx.x == 0) {
    mbarrier_init(&shared.full, 1);
    mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&shared.full, 2 * sizeof(shared.a));
    tma_load(shared.a, map, &shared.full, 0, 0);
    tma_load(shared.b, map, &shared.full, 0, 0, 1);
  }
  if (threadIdx.x == 0) {
    tma_load_multicast(shared.a, map, &shared.full, 0, 0, 3);
    cluster_mbarrier_arrive(&shared.full, 1);
  }
  mbarrier_wait(&shared.full, 0);
  const std::uint64_t a = wgmma_descriptor(shared.a, 0, 1024, Swizzle::b128);
  const std::uint64_t b = wgmma_descriptor(shared.b, 0, 1024, Swizzle::b128);
  const std::uint32_t fragment[4] = {threadIdx.x, 1, 2, 3};
  float d[N / 2];
  wgmma_fence();
  wgmma<N>(d, a, b, false);
  wgmma<N, true, true>(d, a, b, true);
  wgmma<N>(d, fragment, b, true);
  wgmma<N, true>(d, fragment, b, true);
  wgmma_commit();
  wgmma_wait<0>();
  for (int i = 0; i < N / 2; ++i) out[threadIdx.x * (N / 2) + i] = d[i];
  async_proxy_fence();
  __syncthreads();
  if (threadIdx.x != 0) return;
  mbarrier_arrive(&shared.full);
  tma_store(map, 0, 0, shared.a);
  tma_store(map, 0, 0, 1, shared.a);
  tma_store_commit();
  tma_store_wait<0>();
#endif
}

void launch_product(const Cuda& device, bf16* data, float* out) {
  const TensorMap map = tensor_map(device, data, TileGeometry{});
  product_kernel<64><<<1, 128>>>(map, out);
  product_kernel<96><<<1, 128>>>(map, out);
  product_kernel<128><<<1, 128>>>(map, out);
}

}  // namespace HONE_TARGET
}  // namespace hone
