// What the emulator does around loads, stores, asynchronous copies and atomics: checks, poison, counting.
#pragma once

#include <hone/emu/launch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace hone::emulator {

inline void check_aligned(const void* address, std::size_t bytes, const char* name, const Where& where) {
  const auto off = reinterpret_cast<std::uintptr_t>(address) % bytes;
  if (off != 0)
    this_block(where).fail_here("{} {}: {} bytes at an address {} past a multiple of {}", name, to_string(where), bytes,
                                off, bytes);
}

/// True, and counted, when the bytes lie in the shared memory of another block of the cluster.
inline bool is_peer_access(Block& block, const char* name, const void* address, std::size_t bytes, const Where& where) {
  if (block.cluster() == nullptr || !block.cluster()->is_peers(block, name, address, where)) return false;
  block.counters().peer_bytes += static_cast<std::int64_t>(bytes);
  return true;
}

/// Reads `bytes` (a power of two up to 16) as one instruction would.
inline void read(void* to, const void* from, std::size_t bytes, const Where& where) {
  check_aligned(from, bytes, "load", where);
  Block& block = this_block(where);
  const bool shared = block.is_shared(from);
  if (!shared && is_peer_access(block, "load", from, bytes, where)) {
    std::memcpy(to, from, bytes);
    return;
  }
  Counters& counters = block.counters();
  (shared ? counters.shared_load_bytes : counters.global_load_bytes) += static_cast<std::int64_t>(bytes);
  block.note(shared ? Access::shared_load : Access::global_load, from, bytes, where);
  std::memcpy(to, from, bytes);
}

/// Writes `bytes` (a power of two up to 16) as one instruction would.
inline void write(void* to, const void* from, std::size_t bytes, const Where& where) {
  check_aligned(to, bytes, "store", where);
  Block& block = this_block(where);
  const bool shared = block.is_shared(to);
  if (!shared && is_peer_access(block, "store", to, bytes, where)) {
    std::memcpy(to, from, bytes);
    return;
  }
  Counters& counters = block.counters();
  (shared ? counters.shared_store_bytes : counters.global_store_bytes) += static_cast<std::int64_t>(bytes);
  block.note(shared ? Access::shared_store : Access::global_store, to, bytes, where);
  if (shared) block.state().proxy.wrote(block.thread_number(), to, bytes);
  std::memcpy(to, from, bytes);
}

/// cp.async: `bytes` of `width` (4, 8 or 16) from global to shared memory, the rest zero; lands at the wait.
inline void begin_copy(void* to, const void* from, std::size_t bytes, std::size_t width, const Where& where) {
  check_aligned(to, width, "async copy to", where);
  check_aligned(from, width, "async copy from", where);
  Block& block = this_block(where);
  if (!block.is_shared(to) || bytes > width)
    block.fail_here("async copy {}: target must be shared memory, {} <= {} bytes", to_string(where), bytes, width);
  block.counters().async_copy_bytes += static_cast<std::int64_t>(bytes);
  block.counters().shared_store_bytes += static_cast<std::int64_t>(width);
  if (bytes > 0) block.note(Access::global_load, from, bytes, where);
  block.note(Access::shared_store, to, width, where);
  block.state().proxy.wrote(block.thread_number(), to, width);
  block.copies().copy(to, from, bytes, width);
}

inline void commit_copies(Where where = Where::here()) { this_block(where).copies().commit(); }

/// Lands this thread's groups but the newest `may_stay`; other threads' copies are theirs to land, then a barrier.
inline void wait_for_copies(int may_stay, Where where = Where::here()) {
  Block& block = this_block(where);
  block.yield();
  block.copies().wait(may_stay);
}

/// *target = update(*target), indivisibly (fibers only change places where they wait); answers the old value.
template <class T, class Update>
T atomic(const char* name, T* target, const Update& update, const Where& where) {
  static_assert(std::is_integral_v<T>,
                "hone has no atomics on floats: the order of additions would show in the bits of the result; write "
                "partial sums and add them in an order that the shapes decide");
  Block& block = this_block(where);
  check_aligned(target, sizeof(T), name, where);
  ++block.counters().atomics;
  block.spin_check(name, where);
  const T before = *target;
  *target = update(before);
  return before;
}

}  // namespace hone::emulator
