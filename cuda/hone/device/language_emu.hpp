// The kernel language as g++ and clang speak it: CUDA's words, with the emulator behind them.
#pragma once

#include <hone/core/half.hpp>
#include <hone/device/driver_emu.hpp>
#include <hone/emu/collectives.hpp>
#include <hone/tensor/device.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>

#define HONE_TARGET emu
#define HONE_UNROLL

// CUDA's qualifiers say nothing here. The toolkit's headers define them too, for compilers that are not nvcc.
#if !defined(__global__)
#define __global__
#define __device__
#define __host__
#endif
#if !defined(__launch_bounds__)
#define __launch_bounds__(...)
#endif
// `Table const __grid_constant__ table`: an argument too large for every thread to have a copy of. Here it is a
// reference.
#if !defined(__grid_constant__)
#define __grid_constant__ &
#endif

namespace hone {
inline namespace HONE_TARGET {

using KernelDevice = Emu;
using Where = emulator::Where;
using emulator::blockDim;
using emulator::blockIdx;
using emulator::gridDim;
using emulator::threadIdx;

namespace kernel_detail {
inline constexpr int (*emulate)(const gpu::KernelCall&) = &gpu::detail::emulated_launch;
}

inline const gpu::Driver& driver_of(const KernelDevice& device) { return device.driver(); }
inline void* stream_of(const KernelDevice& device) { return device.stream(); }

inline void __syncthreads(Where where = Where::here()) { emulator::block_barrier(where); }
inline void __syncwarp(std::uint32_t mask = emulator::full_mask, Where where = Where::here()) {
  emulator::warp_barrier(mask, where);
}

/// __syncthreads(), on behalf of the caller that `where` names.
inline void barrier(Where where = Where::here()) { emulator::block_barrier(where); }

/// The block's dynamic shared memory as an S. Holds poison until it is written.
template <class S>
S& shared_memory(Where where = Where::here()) {
  return *reinterpret_cast<S*>(emulator::this_block(where).shared(sizeof(S), where));
}

/// An error unless `ok`: an index from data that would leave its tensor.
inline void device_check(bool ok, Where where = Where::here()) {
  if (!ok) emulator::this_block(where).fail_here("device_check failed at {}", to_string(where));
}

/// A product, and a sum, rounded on its own: never part of an fma.
HONE_TARGET_PORTABLE inline float rounded_product(float a, float b) {
  HONE_PORTABLE_ROUNDING
  return a * b;
}
HONE_TARGET_PORTABLE inline float rounded_sum(float a, float b) {
  HONE_PORTABLE_ROUNDING
  return a + b;
}

inline float to_float(float value) { return value; }
inline float to_float(bf16 value) { return value; }

template <class T>
T from_float(float value) {
  return T(value);
}

}  // namespace HONE_TARGET
}  // namespace hone
