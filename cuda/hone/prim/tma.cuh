// TMA (sm_90): one thread moves a whole tile between global and shared memory. A load counts its bytes on an mbarrier
// (prim/mbarrier.cuh); stores go in groups. What leaves the tensor loads as zero and is not stored.
#pragma once

#include <hone/core/tile_geometry.hpp>
#include <hone/prim/mbarrier.cuh>

#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda.h>
#else
#include <hone/emu/tensor_map.hpp>
#endif

namespace hone {
inline namespace HONE_TARGET {

#if defined(__CUDACC__)

/// A kernel takes it as `const __grid_constant__ TensorMap`.
using TensorMap = CUtensorMap;

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// Loads the tile whose first element is (c0, c1), c0 along the innermost axis; one thread calls.
__device__ inline void tma_load(void* to, const TensorMap& map, std::uint64_t* mbarrier, int c0, int c1,
                                Where = Where::here()) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
      "l"(&map), "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(mbarrier))), "r"(c0), "r"(c1)
      : "memory");
}
__device__ inline void tma_load(void* to, const TensorMap& map, std::uint64_t* mbarrier, int c0, int c1, int c2,
                                Where = Where::here()) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
          "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
      "l"(&map), "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(mbarrier))), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}

/// One load for several blocks of a cluster, bit r of `mask` for block r: the tile comes to the same place in each, and
/// the same mbarrier of each counts its bytes. All have initialised it, and a cluster barrier has passed.
__device__ inline void tma_load_multicast(void* to, const TensorMap& map, std::uint64_t* mbarrier, int c0, int c1,
                                          std::uint16_t mask, Where = Where::here()) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%3, %4}], [%2], %5;" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
      "l"(&map), "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(mbarrier))), "r"(c0), "r"(c1), "h"(mask)
      : "memory");
}

/// Stores a tile; async_proxy_fence() by every thread that wrote it, and a barrier, come before.
__device__ inline void tma_store(const TensorMap& map, int c0, int c1, const void* from, Where = Where::here()) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(from))), "r"(c0), "r"(c1)
               : "memory");
}
__device__ inline void tma_store(const TensorMap& map, int c0, int c1, int c2, const void* from,
                                 Where = Where::here()) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map),
               "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(from))), "r"(c0), "r"(c1), "r"(c2)
               : "memory");
}

__device__ inline void tma_store_commit(Where = Where::here()) {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/// Waits until at most `Groups` of this thread's store groups are under way: written, and the tile free again.
template <int Groups>
__device__ void tma_store_wait(Where = Where::here()) {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(Groups) : "memory");
}

#endif
#else

using emulator::TensorMap;

inline void tma_load(void* to, const TensorMap& map, std::uint64_t* mbarrier, int c0, int c1,
                     Where where = Where::here()) {
  emulator::tma_load(to, map, mbarrier, {c0, c1}, where);
}
inline void tma_load(void* to, const TensorMap& map, std::uint64_t* mbarrier, int c0, int c1, int c2,
                     Where where = Where::here()) {
  emulator::tma_load(to, map, mbarrier, {c0, c1, c2}, where);
}
inline void tma_load_multicast(void* to, const TensorMap& map, std::uint64_t* mbarrier, int c0, int c1,
                               std::uint16_t mask, Where where = Where::here()) {
  emulator::tma_load_multicast(to, map, mbarrier, {c0, c1}, mask, where);
}
inline void tma_store(const TensorMap& map, int c0, int c1, const void* from, Where where = Where::here()) {
  emulator::tma_store(map, {c0, c1}, from, where);
}
inline void tma_store(const TensorMap& map, int c0, int c1, int c2, const void* from, Where where = Where::here()) {
  emulator::tma_store(map, {c0, c1, c2}, from, where);
}
inline void tma_store_commit(Where where = Where::here()) { emulator::tma_store_commit(where); }
template <int Groups>
void tma_store_wait(Where where = Where::here()) {
  emulator::tma_store_wait(Groups, where);
}

#endif

/// The map of `data` cut into tiles, of bf16 or float. It lies in the launch's arguments: no memory is taken for it.
/// Throws Error where the geometry cannot be copied in bulk.
template <class T>
TensorMap tensor_map(const KernelDevice& device, const T* data, const TileGeometry& tiles) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, float>, "tiles of bf16 or float");
  check_tiles(tiles, data, sizeof(T));
  TensorMap map{};
  gpu::succeed(driver_of(device), driver_of(device).encode_tiles(&map, data, dtype_of<T>, tiles), "encode_tiles");
  return map;
}

}  // namespace HONE_TARGET
}  // namespace hone
