// The kernel language as nvcc speaks it.
#pragma once

#include <hone/core/half.hpp>
#include <hone/device/driver_cuda.cuh>
#include <hone/tensor/cuda.hpp>

#include <cstdint>

#define HONE_TARGET cuda

// Before a loop whose arrays must end up in registers.
#define HONE_UNROLL _Pragma("unroll")

namespace hone {
inline namespace HONE_TARGET {

using KernelDevice = Cuda;

namespace kernel_detail {
inline constexpr int (*emulate)(const gpu::KernelCall&) = nullptr;  // a card runs kernels itself
}

inline const gpu::Driver& driver_of(const KernelDevice& device) { return device.driver(); }
inline void* stream_of(const KernelDevice& device) { return device.stream(); }

/// A place in the source. The card does not keep them; the emulator does.
struct Where {
  __host__ __device__ static constexpr Where here() { return {}; }
};

/// __syncthreads(), on behalf of the caller that `where` names.
__device__ inline void barrier(Where = Where::here()) { __syncthreads(); }

/// The block's dynamic shared memory as an S. Holds anything until it is written.
template <class S>
__device__ S& shared_memory(Where = Where::here()) {
  extern __shared__ __align__(1024) unsigned char hone_shared_bytes[];
  return *reinterpret_cast<S*>(hone_shared_bytes);
}

/// Stops the kernel unless `ok`: an index from data that would leave its tensor.
__device__ inline void device_check(bool ok, Where = Where::here()) {
  if (!ok) __trap();
}

/// A product, and a sum, rounded on its own: never part of an fma.
__device__ inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float rounded_sum(float a, float b) { return __fadd_rn(a, b); }

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(bf16 value) { return __uint_as_float(static_cast<std::uint32_t>(value.bits) << 16); }

template <class T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline bf16 from_float<bf16>(float value) {
  bf16 out;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
}

}  // namespace HONE_TARGET
}  // namespace hone
