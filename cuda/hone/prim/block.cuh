// Block primitives: reductions over all threads of a block, by way of shared memory. All threads of the block must
// call, and all of them get the result. The block is made of whole warps.
#pragma once

#include <hone/prim/warp.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// One value per warp of the largest block.
struct BlockScratch {
  float of_warp[32];
};

template <class Combine>
__device__ float block_reduce(float value, BlockScratch& scratch, Combine combine, Where where = Where::here()) {
  value = warp_reduce(value, combine, where);
  if (lane_index() == 0) scratch.of_warp[warp_index()] = value;
  barrier(where);
  const int warps = block_threads() / warp_lanes;
  value = lane_index() < warps ? scratch.of_warp[lane_index()] : Combine::identity;
  value = warp_reduce(value, combine, where);  // in every warp alike, which spares a second trip
  barrier(where);                              // the scratch may be written again after this call
  return value;
}

__device__ inline float block_sum(float value, BlockScratch& scratch, Where where = Where::here()) {
  return block_reduce(value, scratch, Sum{}, where);
}
__device__ inline float block_max(float value, BlockScratch& scratch, Where where = Where::here()) {
  return block_reduce(value, scratch, Max{}, where);
}

}  // namespace HONE_TARGET
}  // namespace hone
