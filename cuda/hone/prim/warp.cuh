// Warp primitives: 32 threads that run together. All lanes of the warp must call, and all of them get the result.
#pragma once

#include <hone/device/language.cuh>

#include <cstdint>

namespace hone {
inline namespace HONE_TARGET {

inline constexpr int warp_lanes = 32;

/// Position in the block, x fastest.
__device__ inline int thread_index() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
__device__ inline int lane_index() { return thread_index() % warp_lanes; }
__device__ inline int warp_index() { return thread_index() / warp_lanes; }
__device__ inline int block_threads() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }

#if defined(__CUDACC__)

/// The value of the lane whose number differs by xor with `offset`.
template <class T>
__device__ T warp_xor(T value, int offset, Where = Where::here()) {
  return __shfl_xor_sync(0xffffffffu, value, offset);
}

/// Bit l is lane l's vote.
__device__ inline std::uint32_t warp_ballot(bool vote, Where = Where::here()) {
  return __ballot_sync(0xffffffffu, vote);
}

/// Position of the lowest bit set; `bits` is not 0.
__device__ inline int lowest_bit(std::uint32_t bits) { return __ffs(static_cast<int>(bits)) - 1; }

#else

template <class T>
T warp_xor(T value, int offset, Where where = Where::here()) {
  return emulator::shuffle(emulator::full_mask, value, lane_index() ^ offset, where);
}

inline std::uint32_t warp_ballot(bool vote, Where where = Where::here()) {
  return emulator::ballot(emulator::full_mask, vote, where);
}

inline int lowest_bit(std::uint32_t bits) { return __builtin_ctz(bits); }

#endif

/// Functors of reductions.
struct Sum {
  static constexpr float identity = 0;
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Max {
  static constexpr float identity = -3.402823466e+38f;
  __device__ float operator()(float a, float b) const { return a > b ? a : b; }
};

/// A butterfly: both partners combine the same two numbers, so every lane ends with the same bits.
template <class Combine>
__device__ float warp_reduce(float value, Combine combine, Where where = Where::here()) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) value = combine(value, warp_xor(value, offset, where));
  return value;
}

__device__ inline float warp_sum(float value, Where where = Where::here()) { return warp_reduce(value, Sum{}, where); }
__device__ inline float warp_max(float value, Where where = Where::here()) { return warp_reduce(value, Max{}, where); }

}  // namespace HONE_TARGET
}  // namespace hone
