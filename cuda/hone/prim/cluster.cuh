// Clusters (sm_90): blocks that run at the same time, meet at a barrier of their own, and read and write one another's
// shared memory. A launch says how many blocks along x make one (gpu::LaunchShape::cluster).
//   cluster_sync();                                  // all have begun: before it nobody may reach into another block
//   value = load(cluster_map(&shared.x, rank));
//   cluster_sync();                                  // all have read: a block that ends takes its shared memory along
#pragma once

#include <hone/device/language.cuh>

#include <cstdint>

#if !defined(__CUDACC__)
#include <hone/emu/barriers.hpp>
#endif

namespace hone {
inline namespace HONE_TARGET {

#if defined(__CUDACC__)
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// The number of this block in its cluster.
__device__ inline int cluster_rank(Where = Where::here()) {
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/// Blocks of the cluster.
__device__ inline int cluster_size(Where = Where::here()) {
  int size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}

/// Every thread of the cluster arrives, goes on, and later waits for the others: what they wrote before arriving is
/// then seen.
__device__ inline void cluster_arrive(Where = Where::here()) {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void cluster_wait(Where = Where::here()) {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// Where the object at `at` of this block's shared memory lies in block `rank`: an address for load() and store().
template <class T>
__device__ T* cluster_map(T* at, int rank, Where = Where::here()) {
  std::uint64_t out;
  asm("mapa.u64 %0, %1, %2;" : "=l"(out) : "l"(at), "r"(rank));
  return reinterpret_cast<T*>(out);
}

/// Arrives at the mbarrier `at` of block `rank`: how a reader tells who fills it that a place is empty.
__device__ inline void cluster_mbarrier_arrive(std::uint64_t* at, int rank, Where = Where::here()) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(at));
  asm volatile(
      "{\n.reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(address),
      "r"(rank)
      : "memory");
}

#endif
#else

inline void cluster_mbarrier_arrive(std::uint64_t* at, int rank, Where where = Where::here()) {
  emulator::mbarrier_arrive_at(at, rank, where);
}
inline int cluster_rank(Where where = Where::here()) { return emulator::this_block(where).rank(); }
inline int cluster_size(Where where = Where::here()) { return emulator::this_block(where).cluster()->size(); }
inline void cluster_arrive(Where where = Where::here()) { emulator::cluster_arrive(where); }
inline void cluster_wait(Where where = Where::here()) { emulator::cluster_wait(where); }

template <class T>
T* cluster_map(T* at, int rank, Where where = Where::here()) {
  return emulator::map_shared(at, rank, where);
}

#endif

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
__device__ inline void cluster_sync(Where where = Where::here()) {
  hone::cluster_arrive(where);
  hone::cluster_wait(where);
}
#endif

}  // namespace HONE_TARGET
}  // namespace hone
