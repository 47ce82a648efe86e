// The table of driver calls: everything a GPU device asks of CUDA and its libraries goes through it, so that the
// emulator can stand in for the driver and a test can make any call fail. No toolkit header is needed to read this
// file.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/error.hpp>
#include <hone/core/tile_geometry.hpp>
#include <hone/tensor/gemm_tuning.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone::gpu {

struct Box {
  unsigned x = 1, y = 1, z = 1;
};

struct LaunchShape {
  Box grid;
  Box block;
  std::size_t shared_bytes = 0;  ///< dynamic shared memory of a block
  unsigned cluster = 1;          ///< blocks along x that run together (sm_90)
};

/// One kernel launch with its arguments laid out as cudaLaunchKernel takes them.
struct KernelCall {
  const char* name = "";
  LaunchShape shape;
  const void* function = nullptr;
  void** arguments = nullptr;
  void (*invoke)(const void* function, void** arguments) = nullptr;  ///< calls function(arguments...) on the host
  int (*emulate)(const KernelCall& call) = nullptr;  ///< runs the whole grid on the host; null in nvcc's build
  std::size_t argument_count = 0;
  const std::size_t* argument_bytes = nullptr;  ///< of each; what a recorded launch has to keep
};

/// One product by the GEMM library: c = alpha op(a) op(b), plus the old c if the shape accumulates. Sums are formed in
/// fp32 (never TF32).
struct MatMulCall {
  GemmShape shape;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  float alpha = 1;
  void* workspace = nullptr;        ///< of shape.workspace_bytes
  std::string_view algorithm = {};  ///< a name out of Driver::matmul_algorithms; empty: the library's first heuristic
};

/// Where an operand must begin for an algorithm to be asked for by name.
inline constexpr std::size_t named_algorithm_alignment = 16;

/// What `allocate` answers when a card is full.
inline constexpr int out_of_memory = 2;  // cudaErrorMemoryAllocation

/// What `matmul` answers to a product the library has no algorithm for; hone's own kernel takes it then.
inline constexpr int not_supported = 801;  // cudaErrorNotSupported

/// Status 0 is success; streams, events and graphs are opaque. All work is in the order of its stream.
struct Driver {
  // memory
  int (*allocate)(void** out, std::size_t bytes) = nullptr;
  int (*release)(void* memory) = nullptr;
  int (*memory_info)(std::size_t* free_bytes, std::size_t* total_bytes) = nullptr;  ///< of the whole card
  int (*allocate_pinned)(void** out, std::size_t bytes) = nullptr;  ///< host memory that copies need no detour for
  int (*release_pinned)(void* memory) = nullptr;
  /// Between any two memories. Pageable host memory may be changed or freed as soon as a copy from it has returned;
  /// pinned memory is read or written when the stream comes to it, and the host waits for nothing.
  int (*copy)(void* to, const void* from, std::size_t bytes, void* stream) = nullptr;
  int (*fill)(void* to, int byte, std::size_t bytes, void* stream) = nullptr;
  // streams and events
  int (*create_stream)(void** out) = nullptr;
  int (*destroy_stream)(void* stream) = nullptr;
  int (*synchronize)(void* stream) = nullptr;
  int (*create_event)(void** out) = nullptr;
  int (*destroy_event)(void* event) = nullptr;
  int (*record_event)(void* event, void* stream) = nullptr;
  int (*wait_event)(void* stream, void* event) = nullptr;  ///< later work of `stream` waits for the event
  int (*synchronize_event)(void* event) = nullptr;         ///< the host waits until what it marks is done
  int (*elapsed)(float* milliseconds, void* begin, void* end) = nullptr;  ///< between two events that have passed
  // graphs: between begin and end the stream's work is written down and not done
  int (*begin_capture)(void* stream) = nullptr;
  int (*end_capture)(void* stream, void** graph) = nullptr;
  int (*instantiate)(void** executable, void* graph) = nullptr;
  int (*launch_graph)(void* executable, void* stream) = nullptr;
  int (*destroy_graph)(void* graph) = nullptr;
  int (*destroy_executable)(void* executable) = nullptr;
  // work
  int (*launch)(const KernelCall& call, void* stream) = nullptr;
  int (*matmul)(const MatMulCall& call, void* stream) = nullptr;  ///< null: there is no GEMM library
  /// The names of the library's algorithms for a shape, best guess first, for operands aligned to
  /// named_algorithm_alignment. Each gives the same bits for the same operands, every time.
  int (*matmul_algorithms)(std::vector<std::string>* out, const GemmShape& shape) = nullptr;
  int (*matmul_origin)(GemmOrigin* out) = nullptr;  ///< the card, the driver and the library of that list
  /// The most threads a block of the kernel `function` may have; 1 where it was compiled empty for this card.
  int (*most_threads)(int* out, const void* function) = nullptr;
  /// What the card's bulk copies take for the tiles of a tensor: a CUtensorMap, or the emulator's TileMap.
  int (*encode_tiles)(void* map, const void* data, DType type, const TileGeometry& tiles) = nullptr;
  const char* (*error_text)(int status) = nullptr;
};

/// Throws Error, with the driver's own words, unless `status` is success.
inline void succeed(const Driver& driver, int status, const char* call) {
  check(status == 0, "[cuda] {} failed: {} (status {})", call, driver.error_text(status), status);
}

}  // namespace hone::gpu
