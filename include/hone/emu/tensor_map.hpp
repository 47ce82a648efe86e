// TMA: bulk copies of tiles between global and shared memory, by a tensor map (PTX "cp.async.bulk.tensor").
#pragma once

#include <hone/core/tile_geometry.hpp>
#include <hone/emu/barriers.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace hone::emulator {

using TensorMap = TileMap;

using TileAt = std::array<int, most_tile_axes>;  ///< a tile's first element, axis 0 innermost; may lie outside

namespace detail {

/// Calls row(offset in the tile, address in the tensor or null when outside, elements inside, elements of the row) for
/// every row of the box. `at` may be negative.
template <class F>
void for_rows_of_tile(const TensorMap& map, const TileAt& at, F&& row) {
  const TileGeometry& g = map.tiles;
  const std::int64_t width = g.box[0], rows = g.box_elements() / width;
  for (std::int64_t i = 0; i < rows; ++i) {
    std::int64_t rest = i, offset = 0;
    bool inside = true;
    for (std::size_t axis = 1; axis < static_cast<std::size_t>(g.rank); ++axis) {
      const std::int64_t index = at[axis] + rest % g.box[axis];
      rest /= g.box[axis];
      inside = inside && index >= 0 && index < g.extents[axis];
      offset += index * g.strides[axis];
    }
    // Elements [begin, end) of the row lie inside.
    const std::int64_t begin = std::clamp<std::int64_t>(-std::int64_t{at[0]}, 0, width);
    const std::int64_t end = std::clamp<std::int64_t>(g.extents[0] - at[0], begin, width);
    row(i * width, inside ? offset + at[0] : 0, inside ? begin : 0, inside ? end : 0);
  }
}

inline void check_tile(Block& block, const char* name, const TensorMap& map, const void* shared, const Where& where) {
  if (map.data == nullptr) block.fail_here("{} {}: the tensor map is empty", name, to_string(where));
  if (!block.is_shared(shared)) block.fail_here("{} {}: the tile is not in shared memory", name, to_string(where));
  check_aligned(shared, static_cast<std::size_t>(tile_alignment(map.tiles.swizzle)), name, where);
}

/// Sectors and bytes of the part of a tile that lies inside.
inline void count_tile(Block& block, const TensorMap& map, const TileAt& at, Access kind) {
  std::vector<LaneAccess> request;
  for_rows_of_tile(map, at, [&](std::int64_t, std::int64_t offset, std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    const auto address = reinterpret_cast<std::uintptr_t>(map.data + (offset + begin) * map.element_bytes);
    const std::int64_t bytes = (end - begin) * map.element_bytes;
    request.push_back({0, address, static_cast<std::uint32_t>(bytes)});
    Counters& counters = block.counters();
    (kind == Access::global_load ? counters.async_copy_bytes : counters.global_store_bytes) += bytes;
  });
  block.note_warp(kind, request);
}

/// Moves a tile piece by piece: copy(byte of the tile, byte of the tensor or null when outside).
template <class F>
void for_bytes_of_tile(const TensorMap& map, const TileAt& at, std::byte* shared, F&& copy) {
  const std::int64_t element = map.element_bytes;
  for_rows_of_tile(map, at, [&](std::int64_t first, std::int64_t offset, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < map.tiles.box[0]; ++i) {
      const auto to = swizzled(static_cast<std::uint32_t>((first + i) * element), map.tiles.swizzle);
      copy(shared + to, i >= begin && i < end ? map.data + (offset + i) * element : nullptr);
    }
  });
}

}  // namespace detail

namespace detail {

/// A tile is on its way into the shared memory of `block`, whose mbarrier counts it.
inline void begin_load(Block& caller, Block& block, std::byte* shared, const TensorMap& map, std::uint64_t* mbarrier,
                       const TileAt& at, const Where& where) {
  MBarrier* barrier = block.state().mbarriers.find(mbarrier);
  if (barrier == nullptr)
    caller.fail_here("tma_load {}: there is no initialised mbarrier in block {}", to_string(where),
                     to_string(block.index()));
  if (!barrier->fenced)
    caller.fail_here("tma_load {}: no mbarrier_init_fence() after the mbarrier was initialised", to_string(where));
  std::memset(shared, poison_byte, static_cast<std::size_t>(map.box_bytes()));
  caller.counters().shared_store_bytes += map.box_bytes();
  const bool over = barrier->copy(map.box_bytes(), [map, at, shared] {
    for_bytes_of_tile(map, at, shared, [&](std::byte* target, const std::byte* from) {
      const auto element = static_cast<std::size_t>(map.element_bytes);
      if (from != nullptr)
        std::memcpy(target, from, element);
      else
        std::memset(target, 0, element);
    });
  });
  if (!over) return;
  block.note_meeting();
  block.wake(*barrier);
}

}  // namespace detail

/// cp.async.bulk.tensor to shared memory: the tile at `at`, zeros where it leaves the tensor. Its bytes count on the
/// mbarrier, and stand in memory once somebody has waited for that phase.
inline void tma_load(void* to, const TensorMap& map, std::uint64_t* mbarrier, const TileAt& at,
                     Where where = Where::here()) {
  Block& block = this_block(where);
  detail::check_tile(block, "tma_load", map, to, where);
  detail::mbarrier_at(block, "tma_load", mbarrier, where);
  detail::count_tile(block, map, at, Access::global_load);
  detail::begin_load(block, block, static_cast<std::byte*>(to), map, mbarrier, at, where);
}

/// The same with .multicast::cluster: the tile is read once, and comes to the same place of every block of the cluster
/// in `mask`, each of whose mbarriers counts it.
inline void tma_load_multicast(void* to, const TensorMap& map, std::uint64_t* mbarrier, const TileAt& at,
                               std::uint32_t mask, Where where = Where::here()) {
  Block& block = this_block(where);
  const int size = block.cluster()->size();
  detail::check_tile(block, "tma_load_multicast", map, to, where);
  if (mask == 0 || mask >> size != 0)
    block.fail_here("tma_load_multicast {}: mask {:#x} for a cluster of {}", to_string(where), mask, size);
  detail::count_tile(block, map, at, Access::global_load);
  for (int rank = 0; rank < size; ++rank) {
    if (((mask >> rank) & 1u) == 0) continue;
    Block& peer = block.cluster()->block(rank);
    if (peer.ended())
      block.fail_here("tma_load_multicast {}: block {} has ended", to_string(where), to_string(peer.index()));
    detail::begin_load(block, peer, reinterpret_cast<std::byte*>(map_shared(static_cast<char*>(to), rank, where)), map,
                       map_shared(mbarrier, rank, where), at, where);
  }
}

/// cp.async.bulk.tensor to global memory; what leaves the tensor is dropped. It reads shared memory, and writes, at the
/// wait for its group.
inline void tma_store(const TensorMap& map, const TileAt& at, const void* from, Where where = Where::here()) {
  Block& block = this_block(where);
  detail::check_tile(block, "tma_store", map, from, where);
  check_fenced(block, "tma_store", from, static_cast<std::size_t>(map.box_bytes()), where);
  detail::count_tile(block, map, at, Access::global_store);
  block.counters().shared_load_bytes += map.box_bytes();
  auto* shared = const_cast<std::byte*>(static_cast<const std::byte*>(from));
  block.async().stores.issue([map, at, shared] {
    detail::for_bytes_of_tile(map, at, shared, [&](const std::byte* source, std::byte* target) {
      if (target != nullptr) std::memcpy(target, source, static_cast<std::size_t>(map.element_bytes));
    });
  });
}

inline void tma_store_commit(Where where = Where::here()) { this_block(where).async().stores.commit(); }

inline void tma_store_wait(int may_stay, Where where = Where::here()) {
  Block& block = this_block(where);
  block.yield();
  block.async().stores.wait(may_stay);
}

}  // namespace hone::emulator
