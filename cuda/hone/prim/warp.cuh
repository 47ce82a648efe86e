// Warp primitives: 32 threads that run together. All lanes of the warp, or of the mask that is given, must call, and
// all of them get the result.
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

/// All lanes of a warp. A collective under a smaller mask is called by the lanes that the mask names, and by no other.
inline constexpr std::uint32_t full_warp = 0xffffffffu;

#if defined(__CUDACC__)

/// The value that lane `source` (0 to 31) of the mask brought.
template <class T>
__device__ T warp_shuffle(std::uint32_t mask, T value, int source, Where = Where::here()) {
  return __shfl_sync(mask, value, source);
}

/// Bit l is lane l's vote.
__device__ inline std::uint32_t warp_ballot(std::uint32_t mask, bool vote, Where = Where::here()) {
  return __ballot_sync(mask, vote);
}

/// The lanes of the mask that brought the same integer.
template <class T>
__device__ std::uint32_t warp_match(std::uint32_t mask, T value, Where = Where::here()) {
  return __match_any_sync(mask, value);
}

/// Waits for the lanes of the mask; what they wrote to shared memory before is then seen by all of them.
__device__ inline void warp_barrier(std::uint32_t mask = full_warp, Where = Where::here()) { __syncwarp(mask); }

/// Position of the lowest bit set; `bits` is not 0.
__device__ inline int lowest_bit(std::uint32_t bits) { return __ffs(static_cast<int>(bits)) - 1; }

#else

template <class T>
T warp_shuffle(std::uint32_t mask, T value, int source, Where where = Where::here()) {
  return emulator::shuffle(mask, value, source, where);
}

inline std::uint32_t warp_ballot(std::uint32_t mask, bool vote, Where where = Where::here()) {
  return emulator::ballot(mask, vote, where);
}

template <class T>
std::uint32_t warp_match(std::uint32_t mask, T value, Where where = Where::here()) {
  return emulator::match_any(mask, value, where);
}

inline void warp_barrier(std::uint32_t mask = full_warp, Where where = Where::here()) {
  emulator::warp_barrier(mask, where);
}

inline int lowest_bit(std::uint32_t bits) { return __builtin_ctz(bits); }

#endif

/// The value of the lane whose number differs by xor with `offset`.
template <class T>
__device__ T warp_xor(std::uint32_t mask, T value, int offset, Where where = Where::here()) {
#if defined(__CUDACC__)
  return __shfl_xor_sync(mask, value, offset);
#else
  return warp_shuffle(mask, value, lane_index() ^ offset, where);
#endif
}

/// The value of the lane `by` further down the warp (its number is larger); past lane 31 a lane keeps its own.
template <class T>
__device__ T warp_down(std::uint32_t mask, T value, int by, Where where = Where::here()) {
#if defined(__CUDACC__)
  return __shfl_down_sync(mask, value, by);
#else
  return warp_shuffle(mask, value, lane_index() + by < warp_lanes ? lane_index() + by : lane_index(), where);
#endif
}

/// The value of the lane `by` further up (its number is smaller); before lane 0 a lane keeps its own.
template <class T>
__device__ T warp_up(std::uint32_t mask, T value, int by, Where where = Where::here()) {
#if defined(__CUDACC__)
  return __shfl_up_sync(mask, value, by);
#else
  return warp_shuffle(mask, value, lane_index() >= by ? lane_index() - by : lane_index(), where);
#endif
}

// The same by the whole warp.
template <class T>
__device__ T warp_shuffle(T value, int source, Where where = Where::here()) {
  return warp_shuffle(full_warp, value, source, where);
}
template <class T>
__device__ T warp_xor(T value, int offset, Where where = Where::here()) {
  return warp_xor(full_warp, value, offset, where);
}
template <class T>
__device__ T warp_down(T value, int by, Where where = Where::here()) {
  return warp_down(full_warp, value, by, where);
}
template <class T>
__device__ T warp_up(T value, int by, Where where = Where::here()) {
  return warp_up(full_warp, value, by, where);
}
__device__ inline std::uint32_t warp_ballot(bool vote, Where where = Where::here()) {
  return warp_ballot(full_warp, vote, where);
}

/// Whether any, or every, lane of the mask votes yes.
__device__ inline bool warp_any(std::uint32_t mask, bool vote, Where where = Where::here()) {
  return warp_ballot(mask, vote, where) != 0;
}
__device__ inline bool warp_all(std::uint32_t mask, bool vote, Where where = Where::here()) {
  return warp_ballot(mask, vote, where) == mask;
}

/// A transpose among `Lanes` neighbouring lanes (a power of two, from a multiple of it), who all bring Lanes blocks of
/// N values: lane l of them then holds block l of each, in the order of the lanes. What lanes hold of a row in small
/// pieces becomes long pieces, which one access writes.
template <int Lanes, int N>
__device__ void warp_transpose(float (&blocks)[Lanes][N], Where where = Where::here()) {
  HONE_UNROLL
  for (int bit = 1; bit < Lanes; bit *= 2) {
    const bool upper = (lane_index() & bit) != 0;
    HONE_UNROLL
    for (int i = 0; i < Lanes; ++i) {
      if ((i & bit) != 0) continue;
      HONE_UNROLL
      for (int e = 0; e < N; ++e) {  // the lower lane gives its upper block for the upper lane's lower one
        float &low = blocks[i][e], &high = blocks[i | bit][e];
        const float got = warp_xor(upper ? low : high, bit, where);
        low = upper ? got : low;
        high = upper ? high : got;
      }
    }
  }
}

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
