// The driver table of a real card, over the CUDA runtime. The GEMM library is added by cublaslt.cuh, for those who link
// it.
#pragma once

#include <hone/tensor/driver.hpp>

#include <cuda.h>
#include <cuda_runtime.h>

namespace hone::gpu {

namespace detail {

inline dim3 to_dim3(const Box& box) { return {box.x, box.y, box.z}; }

// Handles of the table as the runtime's types.
inline cudaStream_t stream_from(void* stream) { return static_cast<cudaStream_t>(stream); }
inline cudaEvent_t event_from(void* event) { return static_cast<cudaEvent_t>(event); }

inline int cuda_launch(const KernelCall& call, void* stream) {
  constexpr std::size_t without_asking = std::size_t{48} << 10;  // more dynamic shared memory must be opted in to
  if (call.shape.shared_bytes > without_asking) {
    const cudaError_t status = cudaFuncSetAttribute(call.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    static_cast<int>(call.shape.shared_bytes));
    if (status != cudaSuccess) return status;
  }
  if (call.shape.cluster == 1)
    return cudaLaunchKernel(call.function, to_dim3(call.shape.grid), to_dim3(call.shape.block), call.arguments,
                            call.shape.shared_bytes, stream_from(stream));
  cudaLaunchAttribute together{};
  together.id = cudaLaunchAttributeClusterDimension;
  together.val.clusterDim.x = call.shape.cluster;
  together.val.clusterDim.y = together.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = to_dim3(call.shape.grid);
  config.blockDim = to_dim3(call.shape.block);
  config.dynamicSmemBytes = call.shape.shared_bytes;
  config.stream = stream_from(stream);
  config.attrs = &together;
  config.numAttrs = 1;
  return cudaLaunchKernelExC(&config, call.function, call.arguments);
}

inline int cuda_most_threads(int* out, const void* function) {
  cudaFuncAttributes attributes{};
  const cudaError_t status = cudaFuncGetAttributes(&attributes, function);
  *out = attributes.maxThreadsPerBlock;
  return status;
}

/// cuTensorMapEncodeTiled, found through the runtime so that nothing links the driver's library; null where the driver
/// does not know it.
inline auto encode_tiled() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult status{};
#if CUDART_VERSION >= 12050
  cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &status);
#else
  cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &status);
#endif
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
}

/// Of bf16 or float. What leaves the tensor reads as zero.
inline int cuda_encode_tiles(void* map, const void* data, DType type, const TileGeometry& tiles) {
  static const auto encode = encode_tiled();
  if (encode == nullptr) return cudaErrorSymbolNotFound;
  const std::int64_t element = size_of(type);
  cuuint64_t extents[most_tile_axes], strides[most_tile_axes];
  cuuint32_t box[most_tile_axes], steps[most_tile_axes];
  for (int i = 0; i < tiles.rank; ++i) {
    const auto axis = static_cast<std::size_t>(i);
    extents[i] = static_cast<cuuint64_t>(tiles.extents[axis]);
    if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(tiles.strides[axis] * element);
    box[i] = static_cast<cuuint32_t>(tiles.box[axis]);
    steps[i] = 1;
  }
  constexpr CUtensorMapSwizzle swizzles[] = {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B,
                                             CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_SWIZZLE_128B};
  const auto of_type = type == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  return encode(static_cast<CUtensorMap*>(map), of_type, static_cast<cuuint32_t>(tiles.rank), const_cast<void*>(data),
                extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzles[static_cast<std::size_t>(tiles.swizzle)], CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

inline void add_cuda_memory(Driver& driver) {
  driver.allocate = [](void** out, std::size_t bytes) { return static_cast<int>(cudaMalloc(out, bytes)); };
  driver.release = [](void* memory) { return static_cast<int>(cudaFree(memory)); };
  driver.memory_info = [](std::size_t* free_bytes, std::size_t* total_bytes) {
    return static_cast<int>(cudaMemGetInfo(free_bytes, total_bytes));
  };
  driver.allocate_pinned = [](void** out, std::size_t bytes) {
    return static_cast<int>(cudaHostAlloc(out, bytes, cudaHostAllocDefault));
  };
  driver.release_pinned = [](void* memory) { return static_cast<int>(cudaFreeHost(memory)); };
  driver.copy = [](void* to, const void* from, std::size_t bytes, void* stream) {
    return static_cast<int>(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_from(stream)));
  };
  driver.fill = [](void* to, int byte, std::size_t bytes, void* stream) {
    return static_cast<int>(cudaMemsetAsync(to, byte, bytes, stream_from(stream)));
  };
}

inline void add_cuda_streams(Driver& driver) {
  driver.create_stream = [](void** out) {
    return static_cast<int>(cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(out), cudaStreamNonBlocking));
  };
  driver.destroy_stream = [](void* stream) { return static_cast<int>(cudaStreamDestroy(stream_from(stream))); };
  driver.synchronize = [](void* stream) { return static_cast<int>(cudaStreamSynchronize(stream_from(stream))); };
  driver.create_event = [](void** out) {
    return static_cast<int>(cudaEventCreate(reinterpret_cast<cudaEvent_t*>(out)));
  };
  driver.destroy_event = [](void* event) { return static_cast<int>(cudaEventDestroy(event_from(event))); };
  driver.record_event = [](void* event, void* stream) {
    return static_cast<int>(cudaEventRecord(event_from(event), stream_from(stream)));
  };
  driver.wait_event = [](void* stream, void* event) {
    return static_cast<int>(cudaStreamWaitEvent(stream_from(stream), event_from(event), 0));
  };
  driver.synchronize_event = [](void* event) { return static_cast<int>(cudaEventSynchronize(event_from(event))); };
  driver.elapsed = [](float* milliseconds, void* begin, void* end) {
    return static_cast<int>(cudaEventElapsedTime(milliseconds, event_from(begin), event_from(end)));
  };
}

inline void add_cuda_graphs(Driver& driver) {
  driver.begin_capture = [](void* stream) {
    return static_cast<int>(cudaStreamBeginCapture(stream_from(stream), cudaStreamCaptureModeThreadLocal));
  };
  driver.end_capture = [](void* stream, void** graph) {
    return static_cast<int>(cudaStreamEndCapture(stream_from(stream), reinterpret_cast<cudaGraph_t*>(graph)));
  };
  driver.instantiate = [](void** executable, void* graph) {
    return static_cast<int>(
        cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(executable), static_cast<cudaGraph_t>(graph), 0ULL));
  };
  driver.launch_graph = [](void* executable, void* stream) {
    return static_cast<int>(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable), stream_from(stream)));
  };
  driver.destroy_graph = [](void* graph) {
    return static_cast<int>(cudaGraphDestroy(static_cast<cudaGraph_t>(graph)));
  };
  driver.destroy_executable = [](void* executable) {
    return static_cast<int>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable)));
  };
}

}  // namespace detail

inline Driver& cuda_driver() {
  static Driver driver = [] {
    Driver out;
    detail::add_cuda_memory(out);
    detail::add_cuda_streams(out);
    detail::add_cuda_graphs(out);
    out.launch = &detail::cuda_launch;
    out.most_threads = &detail::cuda_most_threads;
    out.encode_tiles = &detail::cuda_encode_tiles;
    out.error_text = [](int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); };
    return out;
  }();
  return driver;
}

}  // namespace hone::gpu
