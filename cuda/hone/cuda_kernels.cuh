// All of hone's CUDA side. Include it in exactly one file of a program, one that nvcc compiles: it defines the
// functions that <hone/cuda.hpp> declares, and brings the kernels that ops on a Cuda device run.
//   nvcc -std=c++20 -O3 -arch=native -I$HONE/include -I$HONE/cuda program.cu -lcublasLt
#pragma once

#include <hone/cuda.hpp>
#include <hone/device/cublaslt.cuh>
#include <hone/device/nvml.hpp>
#include <hone/kernels.cuh>

#include <map>
#include <mutex>

namespace hone {

namespace detail {

/// The oldest card whose tensor cores know bf16, and the oldest these kernels are compiled for.
inline constexpr int oldest_sm = 80;

inline void check_cuda(cudaError_t status, const char* what) {
  check(status == cudaSuccess, "[cuda] {}: {}", what, cudaGetErrorString(status));
}

/// The driver is missing, or older than the toolkit that built this.
[[noreturn]] inline void refuse_driver() {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  check(driver != 0, "[cuda] this machine has no NVIDIA driver; device cuda needs a card and its driver");
  fail("[cuda] the driver knows CUDA {}.{}, this program was built with {}.{}: install a newer driver", driver / 1000,
       driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
}

inline int count_cards() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) refuse_driver();
  if (status == cudaErrorNoDevice) count = 0;
  check(status == cudaErrorNoDevice || status == cudaSuccess, "[cuda] the driver cannot list its cards: {}",
        cudaGetErrorString(status));
  check(count > 0, "[cuda] there is no card: nvidia-smi should list one, and CUDA_VISIBLE_DEVICES must not hide it");
  return count;
}

inline std::int64_t free_memory() {
  std::size_t free_bytes = 0, total_bytes = 0;
  check_cuda(cudaMemGetInfo(&free_bytes, &total_bytes), "the card does not say how full it is");
  return static_cast<std::int64_t>(free_bytes);
}

/// Makes this process's context on a card, with the GEMM library in it, and measures what that takes.
inline void open_context(Card& card) {
  char bus_id[32] = {};
  check_cuda(cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), card.index), "the card has no PCI address");
  const auto before = gpu::free_memory_of_card(bus_id);
  cudaError_t status = cudaSetDevice(card.index);
  if (status == cudaSuccess) status = cudaFree(nullptr);  // makes the context
  check(status != cudaErrorMemoryAllocation,
        "[cuda] {} is full: not even a context fits beside what other programs hold (nvidia-smi lists them)",
        card.name);
  check_cuda(status, "no context can be made on the card");
  const int library = gpu::detail::CublasLt::instance().status();
  check(library == 0, "[cuda] cuBLASLt does not start on {}: {}", card.name,
        gpu::cuda_driver_with_cublaslt().error_text(library));
  const auto after = gpu::free_memory_of_card(bus_id);
  if (before && after && *before > *after) card.context_bytes = *before - *after;
}

inline Card inspect_card(int index) {
  const int count = count_cards();
  check(index >= 0 && index < count, "[cuda] card {} does not exist: there are {}, counted from 0", index, count);
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index), "the card does not say what it is");
  Card card{.name = properties.name,
            .index = index,
            .sm = properties.major * 10 + properties.minor,
            .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem)};
  check(card.sm >= oldest_sm, "[cuda] {} is sm_{}: these kernels, and bf16 on tensor cores, need sm_{} or newer",
        card.name, card.sm, oldest_sm);
  cudaDriverGetVersion(&card.driver);
  open_context(card);
  return card;
}

}  // namespace detail

Card find_card(int index) {
  static std::mutex mutex;
  static std::map<int, Card> known;
  const std::lock_guard lock(mutex);
  auto found = known.find(index);
  if (found == known.end()) found = known.emplace(index, detail::inspect_card(index)).first;
  detail::check_cuda(cudaSetDevice(index), "the card cannot be chosen");
  found->second.free_bytes = detail::free_memory();
  return found->second;
}

Cuda open_card(int index) { return {gpu::cuda_driver_with_cublaslt(), gpu::cuda_target(find_card(index).sm)}; }

}  // namespace hone
