// Small matrix products and moves between tensors and tiles: what blocked attention is made of. A tile is scratch in
// the type of sums, S, row after row `stride` elements apart.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/vector_math.hpp>

#include <cstdint>
#include <utility>

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

/// `Bytes` is the register's width. The inner block is 4 rows by `Vectors` registers (8 by 1 where
/// the columns run out), whose sums stay in registers.
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
    constexpr int rows = Count == 1 ? 8 : 4;  // enough independent sums to hide the latency of an addition
    std::int64_t row = 0;
    for (; row + rows <= p.m; row += rows) block<rows, Count>(p, row, column);
    for (; row < p.m; ++row) block<1, Count>(p, row, column);
  }

  template <int Rows, int Count>
  HONE_ALWAYS_INLINE static void block(const TileProduct<S>& p, std::int64_t row, std::int64_t column) {
    constexpr auto cells = std::make_integer_sequence<int, Rows * Count>{};
    Vector sum[Rows * Count] = {};
    S* const c = p.c + row * p.c_row + column;
    if (p.accumulate) load<Count>(sum, c, p.c_row, cells);
    const S* a = p.a + row * p.a_row;
    const S* b = p.b + column;
    for (std::int64_t k = 0; k < p.k; ++k, a += p.a_column, b += p.b_row) {
      Vector from_b[Count];
      load<Count>(from_b, b, 0, std::make_integer_sequence<int, Count>{});
      multiply_add<Count>(sum, a, p.a_row, from_b, cells);
    }
    store<Count>(sum, c, p.c_row, cells);
  }

  // Cell I of a block is row I / Count, register I % Count. Unrolled by the language, not left to the optimiser: the
  // sums must be registers at -O2 as well.
  template <int Count, int... I>
  HONE_ALWAYS_INLINE static void load(Vector* to, const S* from, std::int64_t stride,
                                      std::integer_sequence<int, I...>) {
    (__builtin_memcpy(&to[I], from + I / Count * stride + I % Count * width, Bytes), ...);
  }
  template <int Count, int... I>
  HONE_ALWAYS_INLINE static void store(const Vector* from, S* to, std::int64_t stride,
                                       std::integer_sequence<int, I...>) {
    (__builtin_memcpy(to + I / Count * stride + I % Count * width, &from[I], Bytes), ...);
  }
  template <int Count, int... I>
  HONE_ALWAYS_INLINE static void multiply_add(Vector* sum, const S* a, std::int64_t a_row, const Vector* b,
                                              std::integer_sequence<int, I...>) {
    ((sum[I] += a[I / Count * a_row] * b[I % Count]), ...);
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

/// Rows of a tile in S: from a tensor row after row, widened, columns [cols, padded) zero.
template <class T, class S>
struct LoadTile {
  HONE_ALWAYS_INLINE static void run(const T* from, std::int64_t from_row, std::int64_t rows, std::int64_t cols,
                                     std::int64_t padded, S* HONE_RESTRICT to, std::int64_t to_row) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const T* source = from + row * from_row;
      S* HONE_RESTRICT sink = to + row * to_row;
      std::int64_t at = 0;
      for (; at + tile_lanes <= cols; at += tile_lanes)  // a fixed count: vector code at -O2 as well
        for (int l = 0; l < tile_lanes; ++l) sink[at + l] = widen(source[at + l]);
      for (; at < cols; ++at) sink[at] = widen(source[at]);
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
