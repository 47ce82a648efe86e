// The table of driver calls: everything a device asks of CUDA goes through it, so that the emulator can stand in for
// the driver and a test can make any call fail. No toolkit header is needed to read this file.
#pragma once

#include <hone/core/error.hpp>

#include <cstddef>

namespace hone::gpu {

struct Box {
  unsigned x = 1, y = 1, z = 1;
};

struct LaunchShape {
  Box grid;
  Box block;
  std::size_t shared_bytes = 0;  ///< dynamic shared memory of a block
};

/// One kernel launch with its arguments laid out as cudaLaunchKernel takes them.
struct KernelCall {
  const char* name = "";
  LaunchShape shape;
  const void* function = nullptr;
  void** arguments = nullptr;
  void (*invoke)(const void* function, void** arguments) = nullptr;  ///< calls function(arguments...) on the host
};

/// Status 0 is success; streams are opaque. All work is in the order of its stream.
struct Driver {
  int (*allocate)(void** out, std::size_t bytes) = nullptr;
  int (*release)(void* memory) = nullptr;
  int (*copy)(void* to, const void* from, std::size_t bytes, void* stream) = nullptr;  ///< between any two memories
  int (*create_stream)(void** out) = nullptr;
  int (*destroy_stream)(void* stream) = nullptr;
  int (*synchronize)(void* stream) = nullptr;
  int (*launch)(const KernelCall& call, void* stream) = nullptr;
  const char* (*error_text)(int status) = nullptr;
};

/// Throws Error, with the driver's own words, unless `status` is success.
inline void succeed(const Driver& driver, int status, const char* call) {
  check(status == 0, "[cuda] {} failed: {} (status {})", call, driver.error_text(status), status);
}

}  // namespace hone::gpu
