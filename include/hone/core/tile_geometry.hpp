// TileGeometry: how a tensor in memory is cut into the tiles that a GPU's bulk copies move, and how a tile lies in
// shared memory. No toolkit needed.
#pragma once

#include <hone/core/config.hpp>
#include <hone/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hone {

/// The order of a tile's 16-byte pieces in shared memory: within each span of 32, 64 or 128 bytes, the piece's number
/// is xor'ed with the number of the 128-byte line (modulo pieces of a span), so that eight rows lie on different banks.
enum class Swizzle : std::uint8_t { none, b32, b64, b128 };

inline constexpr int most_tile_axes = 5;

/// Axis 0 is the innermost. A tensor of `rank` axes, and the box of it that one copy moves.
struct TileGeometry {
  int rank = 2;
  std::array<std::int64_t, most_tile_axes> extents{1, 1, 1, 1, 1};
  std::array<std::int64_t, most_tile_axes> strides{1, 0, 0, 0, 0};  ///< in elements; strides[0] is 1
  std::array<int, most_tile_axes> box{1, 1, 1, 1, 1};
  Swizzle swizzle = Swizzle::none;

  std::int64_t box_elements() const {
    std::int64_t count = 1;
    for (int axis = 0; axis < rank; ++axis) count *= box[static_cast<std::size_t>(axis)];
    return count;
  }
};

/// Bytes of a span that a swizzle turns about; a tile's row may not be longer.
constexpr std::int64_t span_bytes(Swizzle swizzle) {
  return swizzle == Swizzle::none ? 0 : std::int64_t{16} << static_cast<int>(swizzle);
}

/// What a tile's address in shared memory must be a multiple of: the swizzle's pattern repeats after so many bytes.
constexpr std::int64_t tile_alignment(Swizzle swizzle) {
  return swizzle == Swizzle::none ? 128 : 8 * span_bytes(swizzle);
}

/// Where the byte at `offset` of an unswizzled tile lies.
HONE_HOST_DEVICE constexpr std::uint32_t swizzled(std::uint32_t offset, Swizzle swizzle) {
  const std::uint32_t pieces = (1u << static_cast<unsigned>(swizzle)) - 1;  // 0, 1, 3, 7
  return offset ^ (((offset >> 7) & pieces) << 4);
}

/// Tiles of a tensor as the emulator knows them; a card has its own description of 128 bytes.
struct TileMap {
  std::byte* data = nullptr;
  std::int64_t element_bytes = 0;
  TileGeometry tiles;

  std::int64_t box_bytes() const { return tiles.box_elements() * element_bytes; }
};

/// Throws Error where a bulk copy could not move such tiles: everything must come in pieces of 16 bytes.
inline void check_tiles(const TileGeometry& g, const void* data, std::int64_t element_bytes) {
  constexpr std::int64_t piece = 16;
  constexpr int most_box = 256;
  check(g.rank >= 1 && g.rank <= most_tile_axes, "[tiles] rank {} must be 1 to {}", g.rank, most_tile_axes);
  const auto off = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data) % piece);
  check(off == 0, "[tiles] the tensor starts {} bytes past a multiple of {}", off, piece);
  check(g.strides[0] == 1, "[tiles] the innermost axis has stride {}, wanted 1", g.strides[0]);
  for (int axis = 0; axis < g.rank; ++axis) {
    const auto a = static_cast<std::size_t>(axis);
    check(g.extents[a] >= 1, "[tiles] axis {} has extent {}", axis, g.extents[a]);
    check(g.box[a] >= 1 && g.box[a] <= most_box, "[tiles] the box is {} wide on axis {}, wanted 1 to {}", g.box[a],
          axis, most_box);
    check(axis == 0 || g.strides[a] * element_bytes % piece == 0,
          "[tiles] axis {} has a stride of {} bytes, wanted a multiple of {}", axis, g.strides[a] * element_bytes,
          piece);
  }
  const std::int64_t row = g.box[0] * element_bytes;
  check(row % piece == 0, "[tiles] a row of the box has {} bytes, wanted a multiple of {}", row, piece);
  check(g.swizzle == Swizzle::none || row <= span_bytes(g.swizzle),
        "[tiles] a row of the box has {} bytes, the swizzle's span {}", row, span_bytes(g.swizzle));
}

}  // namespace hone
