// Small matrix products and moves between tensors and tiles: what blocked attention is made of. A tile is scratch in
// the type of sums, S, row after row `stride` elements apart.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/vector_math.hpp>

#include <cstdint>

namespace hone::cpu {

inline constexpr std::int64_t tile_lanes = 16;  // the last extent of a product is a multiple of this

/// c (m, n) = or += a (m, k) * b (k, n), with n a multiple of tile_lanes. a is read by element, with any two strides,
/// so that a transposed tile needs no copy; b and c are rows.
template <class S>
struct TileProduct {
  const S* a;
  std::int64_t a_row, a_column;
  const S* b;
  std::int64_t b_row;
  S* c;
  std::int64_t c_row;
  std::int64_t m, n, k;
  bool accumulate;
};

/// `Bytes` is the register's width. The inner block is 4 rows by `Vectors` registers, whose sums stay in registers.
template <class S, int Bytes, int Vectors>
struct TileMatMul {
  typedef S Vector __attribute__((vector_size(Bytes)));
  static constexpr std::int64_t width = Bytes / static_cast<std::int64_t>(sizeof(S));

  HONE_ALWAYS_INLINE static void run(TileProduct<S> p) {
    std::int64_t column = 0;
    for (; column + Vectors * width <= p.n; column += Vectors * width) columns<Vectors>(p, column);
    for (; column < p.n; column += width) columns<1>(p, column);
  }

 private:
  template <int Count>
  HONE_ALWAYS_INLINE static void columns(const TileProduct<S>& p, std::int64_t column) {
    std::int64_t row = 0;
    for (; row + 4 <= p.m; row += 4) block<4, Count>(p, row, column);
    for (; row < p.m; ++row) block<1, Count>(p, row, column);
  }

  template <int Rows, int Count>
  HONE_ALWAYS_INLINE static void block(const TileProduct<S>& p, std::int64_t row, std::int64_t column) {
    Vector sum[Rows][Count] = {};
    S* const c = p.c + row * p.c_row + column;
    if (p.accumulate)
      for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < Count; ++j) __builtin_memcpy(&sum[i][j], c + i * p.c_row + j * width, Bytes);
    const S* a = p.a + row * p.a_row;
    const S* b = p.b + column;
    for (std::int64_t k = 0; k < p.k; ++k, a += p.a_column, b += p.b_row) {
      Vector from_b[Count];
      for (int j = 0; j < Count; ++j) __builtin_memcpy(&from_b[j], b + j * width, Bytes);
      for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < Count; ++j) sum[i][j] += a[i * p.a_row] * from_b[j];
    }
    for (int i = 0; i < Rows; ++i)
      for (int j = 0; j < Count; ++j) __builtin_memcpy(c + i * p.c_row + j * width, &sum[i][j], Bytes);
  }
};

template <class S>
using TileMatMulPath = void (*)(TileProduct<S>);

template <class S>
TileMatMulPath<S> tile_matmul_path([[maybe_unused]] Isa isa) {
#if HONE_X86
  if (isa == Isa::avx512) return &hone::detail::run_avx512<TileMatMul<S, 64, 4>, TileProduct<S>>;
  if (isa == Isa::avx2) return &hone::detail::run_avx2<TileMatMul<S, 32, 2>, TileProduct<S>>;
#endif
  return &hone::detail::run_portable<TileMatMul<S, 16, 2>, TileProduct<S>>;
}

/// Rows of a tile in S: from a tensor row after row, widened, times `factor`, columns [cols, padded) zero.
template <class T, class S>
struct LoadTile {
  HONE_ALWAYS_INLINE static void run(const T* from, std::int64_t from_row, std::int64_t rows, std::int64_t cols,
                                     std::int64_t padded, S* HONE_RESTRICT to, std::int64_t to_row) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const T* source = from + row * from_row;
      S* HONE_RESTRICT sink = to + row * to_row;
      for (std::int64_t col = 0; col < cols; ++col) sink[col] = widen(source[col]);
      for (std::int64_t col = cols; col < padded; ++col) sink[col] = S{0};
    }
  }
};

/// The transpose, times `factor`: to (cols, padded rows), rows [rows, padded) zero. Row r of the source lies at
/// from + (r / group) * from_row + (r % group) * from_head: the heads that share a key head become rows of one tile.
template <class T, class S>
struct LoadTransposed {
  HONE_ALWAYS_INLINE static void run(const T* from, std::int64_t from_row, std::int64_t group, std::int64_t from_head,
                                     std::int64_t rows, std::int64_t cols, std::int64_t padded, S factor,
                                     S* HONE_RESTRICT to, std::int64_t to_row) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const T* source = from + row / group * from_row + row % group * from_head;
      for (std::int64_t col = 0; col < cols; ++col) to[col * to_row + row] = widen(source[col]) * factor;
    }
    for (std::int64_t col = 0; col < cols; ++col)
      for (std::int64_t row = rows; row < padded; ++row) to[col * to_row + row] = S{0};
  }
};

/// Writes one tile row back: to = or += from * factor.
template <class T, class S>
struct StoreRow {
  HONE_ALWAYS_INLINE static void run(const S* HONE_RESTRICT from, std::int64_t cols, S factor, T* HONE_RESTRICT to,
                                     bool accumulate) {
    if (accumulate)
      for (std::int64_t col = 0; col < cols; ++col) to[col] = round_to<T>(widen(to[col]) + from[col] * factor);
    else
      for (std::int64_t col = 0; col < cols; ++col) to[col] = round_to<T>(from[col] * factor);
  }
};

}  // namespace hone::cpu
