// The driver table of a real card, over the CUDA runtime.
#pragma once

#include <hone/device/driver.hpp>

#include <cuda_runtime.h>

namespace hone::gpu {

namespace detail {

inline dim3 to_dim3(const Box& box) { return {box.x, box.y, box.z}; }

inline int cuda_launch(const KernelCall& call, void* stream) {
  constexpr std::size_t without_asking = std::size_t{48} << 10;  // more dynamic shared memory must be opted in to
  if (call.shape.shared_bytes > without_asking) {
    const cudaError_t status = cudaFuncSetAttribute(call.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    static_cast<int>(call.shape.shared_bytes));
    if (status != cudaSuccess) return status;
  }
  return cudaLaunchKernel(call.function, to_dim3(call.shape.grid), to_dim3(call.shape.block), call.arguments,
                          call.shape.shared_bytes, static_cast<cudaStream_t>(stream));
}

}  // namespace detail

inline Driver& cuda_driver() {
  static Driver driver{
      .allocate = [](void** out, std::size_t bytes) { return static_cast<int>(cudaMalloc(out, bytes)); },
      .release = [](void* memory) { return static_cast<int>(cudaFree(memory)); },
      .copy =
          [](void* to, const void* from, std::size_t bytes, void* stream) {
            return static_cast<int>(
                cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)));
          },
      .create_stream =
          [](void** out) {
            return static_cast<int>(
                cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(out), cudaStreamNonBlocking));
          },
      .destroy_stream =
          [](void* stream) { return static_cast<int>(cudaStreamDestroy(static_cast<cudaStream_t>(stream))); },
      .synchronize =
          [](void* stream) { return static_cast<int>(cudaStreamSynchronize(static_cast<cudaStream_t>(stream))); },
      .launch = &detail::cuda_launch,
      .error_text = [](int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); },
  };
  return driver;
}

}  // namespace hone::gpu
