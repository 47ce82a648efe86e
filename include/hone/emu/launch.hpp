// launch: runs a grid, block after block, on the calling host thread; and the way from a kernel to the block it runs
// in.
#pragma once

#include <hone/emu/cluster.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace hone::emulator {

struct LaunchShape {
  Dim3 grid;
  Dim3 block;
  std::size_t shared_bytes = 0;  ///< dynamic shared memory of a block
  unsigned cluster = 1;          ///< blocks along x that run together
};

/// One launch and what it did.
struct LaunchRecord {
  std::string kernel;
  LaunchShape shape;
  const void* function = nullptr;  ///< the kernel's address, by which its instantiation can be named
  Counters counted;
};

/// The launches of this host thread while Settings::keep_launches was set, oldest first. The caller clears it.
inline std::vector<LaunchRecord>& launch_records() {
  static thread_local std::vector<LaunchRecord> records;
  return records;
}

/// The block whose thread runs now.
inline Block& this_block(const Where& where) {
  check(detail::running_block != nullptr, "[emu] {} is called outside a kernel", to_string(where));
  return *detail::running_block;
}

/// The limits of sm_90, which older cards share but for less shared memory: launch() of the kernels looks at that.
inline void check_shape(const char* kernel, const LaunchShape& shape) {
  constexpr std::int64_t most_threads = 1024, most_blocks_x = 2147483647, most_blocks_yz = 65535;
  constexpr std::size_t most_shared = std::size_t{227} << 10;
  const Dim3 &grid = shape.grid, &block = shape.block;
  check(block.count() >= 1 && block.count() <= most_threads && block.z <= 64,
        "[emu] {}: block {} must have 1 to {} threads", kernel, to_string(block), most_threads);
  check(grid.count() >= 1 && grid.x <= most_blocks_x && grid.y <= most_blocks_yz && grid.z <= most_blocks_yz,
        "[emu] {}: grid {} must have 1 to {} x {} x {} blocks", kernel, to_string(grid), most_blocks_x, most_blocks_yz,
        most_blocks_yz);
  constexpr unsigned most_together = 8;  // on every card that has clusters
  check(shape.cluster >= 1 && shape.cluster <= most_together && grid.x % shape.cluster == 0,
        "[emu] {}: clusters of {} must be of 1 to {} blocks and divide the grid's {}", kernel, shape.cluster,
        most_together, grid.x);
  check(shape.shared_bytes <= most_shared, "[emu] {}: {} bytes of shared memory are more than a block's {}", kernel,
        shape.shared_bytes, most_shared);
}

/// Runs `body` once per thread of the grid and returns when all have ended. Throws what a thread threw; only a launch
/// that ends is counted. `function` is what the record of the launch names.
inline void launch(const char* kernel, const LaunchShape& shape, const Body& body, const void* function = nullptr) {
  check(detail::running_block == nullptr, "[emu] {}: a kernel cannot launch a kernel", kernel);
  check_shape(kernel, shape);
  struct Running {
    ~Running() { detail::running_block = nullptr; }
  } const running;
  Counters counted;
  Cluster cluster(kernel, shape.block, shape.shared_bytes, settings(), counted, shape.cluster);
  gridDim = shape.grid;
  blockDim = shape.block;
  std::vector<std::int64_t> order;
  std::uint64_t random = settings().seed + 1;
  order_numbers(order, shape.grid.count() / shape.cluster, settings().order, random);
  for (const std::int64_t number : order) cluster.run(shape.grid, number, body);
  ++counted.launches;
  counters() += counted;
  if (settings().keep_launches) launch_records().push_back({kernel, shape, function, counted});
}

}  // namespace hone::emulator
