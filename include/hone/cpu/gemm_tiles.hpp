// Micro-kernels of the matrix product: one tile of C, held in registers, gathers the products of two packed panels.
//
// A panel of A is (k, rows) and one of B is (k, cols), both contiguous. Step p broadcasts rows values of A against two
// vectors of B: rows x 2 fused multiply-adds for rows + 2 loads, which keeps the multipliers busy where
// rows >= 4 (latency of an fma) and rows x 2 + 3 <= registers. C: (rows, cols), rows c_stride apart.
//
// C is asked for before the loop and needed after it. alpha stays in memory: in a register it costs g++ 12 the one it
// would hold a vector of B in, and with it a quarter of the speed.
//
// The three functions differ in their target and nothing else, and cannot share a body: g++ lowers a 64-byte vector to
// pieces in any function that lacks the target, before it would inline that function into one that has it.
#pragma once

#include <hone/core/config.hpp>
#include <hone/core/isa.hpp>

#include <cstdint>
#include <utility>

namespace hone::detail {

template <class S>
using GemmTile = void (*)(int rows, std::int64_t k, const S* a, const S* b, S* c, std::int64_t c_stride, const S& alpha,
                          bool accumulate);

/// The tile of a path: at most `rows` rows, or any smaller multiple of `row_step`; two vectors of columns.
struct GemmTileShape {
  int rows, row_step, vector_bytes;
  constexpr int cols(std::int64_t element_bytes) const { return static_cast<int>(2 * vector_bytes / element_bytes); }
};

constexpr GemmTileShape gemm_tile_shape(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return {12, 4, 64};
    case Isa::avx2:
      return {6, 2, 32};
    case Isa::portable:
      return {6, 2, 16};
  }
  return {6, 2, 16};
}

template <class S, int Bytes>
struct GemmVector {
  typedef S Aligned __attribute__((vector_size(Bytes)));
  typedef S Loose __attribute__((vector_size(Bytes), aligned(alignof(S)), may_alias));
};

template <class S, int... Row>
HONE_TARGET_PORTABLE void gemm_tile_portable(std::integer_sequence<int, Row...>, std::int64_t k, const S* a, const S* b,
                                             S* c, std::int64_t c_stride, const S& alpha, bool accumulate) {
  HONE_PORTABLE_ROUNDING
  using Vector = typename GemmVector<S, 16>::Aligned;
  using Loose = typename GemmVector<S, 16>::Loose;
  constexpr int rows = sizeof...(Row), lanes = 16 / sizeof(S);
  Vector left[rows], right[rows];
  ((left[Row] = Vector{}, right[Row] = Vector{}), ...);
  ((__builtin_prefetch(c + Row * c_stride, 1), __builtin_prefetch(c + Row * c_stride + 2 * lanes - 1, 1)), ...);
  for (std::int64_t p = 0; p < k; ++p, a += rows, b += 2 * lanes) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b), b1 = *reinterpret_cast<const Vector*>(b + lanes);
    ((left[Row] += a[Row] * b0, right[Row] += a[Row] * b1), ...);
  }
  if (accumulate) {
    ((*reinterpret_cast<Loose*>(c + Row * c_stride) += alpha * left[Row]), ...);
    ((*reinterpret_cast<Loose*>(c + Row * c_stride + lanes) += alpha * right[Row]), ...);
  } else {
    ((*reinterpret_cast<Loose*>(c + Row * c_stride) = alpha * left[Row]), ...);
    ((*reinterpret_cast<Loose*>(c + Row * c_stride + lanes) = alpha * right[Row]), ...);
  }
}

template <class S>
void gemm_tile_portable_rows(int rows, std::int64_t k, const S* a, const S* b, S* c, std::int64_t c_stride,
                             const S& alpha, bool accumulate) {
  if (rows == 6)
    return gemm_tile_portable(std::make_integer_sequence<int, 6>{}, k, a, b, c, c_stride, alpha, accumulate);
  if (rows == 4)
    return gemm_tile_portable(std::make_integer_sequence<int, 4>{}, k, a, b, c, c_stride, alpha, accumulate);
  gemm_tile_portable(std::make_integer_sequence<int, 2>{}, k, a, b, c, c_stride, alpha, accumulate);
}

#if HONE_X86
template <class S, int... Row>
HONE_TARGET_AVX2 void gemm_tile_avx2(std::integer_sequence<int, Row...>, std::int64_t k, const S* a, const S* b, S* c,
                                     std::int64_t c_stride, const S& alpha, bool accumulate) {
  using Vector = typename GemmVector<S, 32>::Aligned;
  using Loose = typename GemmVector<S, 32>::Loose;
  constexpr int rows = sizeof...(Row), lanes = 32 / sizeof(S);
  Vector left[rows], right[rows];
  ((left[Row] = Vector{}, right[Row] = Vector{}), ...);
  ((__builtin_prefetch(c + Row * c_stride, 1), __builtin_prefetch(c + Row * c_stride + 2 * lanes - 1, 1)), ...);
  for (std::int64_t p = 0; p < k; ++p, a += rows, b += 2 * lanes) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b), b1 = *reinterpret_cast<const Vector*>(b + lanes);
    ((left[Row] += a[Row] * b0, right[Row] += a[Row] * b1), ...);
  }
  if (accumulate) {
    ((*reinterpret_cast<Loose*>(c + Row * c_stride) += alpha * left[Row]), ...);
    ((*reinterpret_cast<Loose*>(c + Row * c_stride + lanes) += alpha * right[Row]), ...);
  } else {
    ((*reinterpret_cast<Loose*>(c + Row * c_stride) = alpha * left[Row]), ...);
    ((*reinterpret_cast<Loose*>(c + Row * c_stride + lanes) = alpha * right[Row]), ...);
  }
}

template <class S>
void gemm_tile_avx2_rows(int rows, std::int64_t k, const S* a, const S* b, S* c, std::int64_t c_stride, const S& alpha,
                         bool accumulate) {
  if (rows == 6) return gemm_tile_avx2(std::make_integer_sequence<int, 6>{}, k, a, b, c, c_stride, alpha, accumulate);
  if (rows == 4) return gemm_tile_avx2(std::make_integer_sequence<int, 4>{}, k, a, b, c, c_stride, alpha, accumulate);
  gemm_tile_avx2(std::make_integer_sequence<int, 2>{}, k, a, b, c, c_stride, alpha, accumulate);
}

template <class S, int... Row>
HONE_TARGET_AVX512 void gemm_tile_avx512(std::integer_sequence<int, Row...>, std::int64_t k, const S* a, const S* b,
                                         S* c, std::int64_t c_stride, const S& alpha, bool accumulate) {
  using Vector = typename GemmVector<S, 64>::Aligned;
  using Loose = typename GemmVector<S, 64>::Loose;
  constexpr int rows = sizeof...(Row), lanes = 64 / sizeof(S);
  Vector left[rows], right[rows];
  ((left[Row] = Vector{}, right[Row] = Vector{}), ...);
  ((__builtin_prefetch(c + Row * c_stride, 1), __builtin_prefetch(c + Row * c_stride + 2 * lanes - 1, 1)), ...);
  for (std::int64_t p = 0; p < k; ++p, a += rows, b += 2 * lanes) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b), b1 = *reinterpret_cast<const Vector*>(b + lanes);
    ((left[Row] += a[Row] * b0, right[Row] += a[Row] * b1), ...);
  }
  if (accumulate) {
    ((*reinterpret_cast<Loose*>(c + Row * c_stride) += alpha * left[Row]), ...);
    ((*reinterpret_cast<Loose*>(c + Row * c_stride + lanes) += alpha * right[Row]), ...);
  } else {
    ((*reinterpret_cast<Loose*>(c + Row * c_stride) = alpha * left[Row]), ...);
    ((*reinterpret_cast<Loose*>(c + Row * c_stride + lanes) = alpha * right[Row]), ...);
  }
}

template <class S>
void gemm_tile_avx512_rows(int rows, std::int64_t k, const S* a, const S* b, S* c, std::int64_t c_stride,
                           const S& alpha, bool accumulate) {
  if (rows == 12)
    return gemm_tile_avx512(std::make_integer_sequence<int, 12>{}, k, a, b, c, c_stride, alpha, accumulate);
  if (rows == 8) return gemm_tile_avx512(std::make_integer_sequence<int, 8>{}, k, a, b, c, c_stride, alpha, accumulate);
  gemm_tile_avx512(std::make_integer_sequence<int, 4>{}, k, a, b, c, c_stride, alpha, accumulate);
}
#endif

template <class S>
GemmTile<S> gemm_tile([[maybe_unused]] Isa isa) {
#if HONE_X86
  if (isa == Isa::avx512) return &gemm_tile_avx512_rows<S>;
  if (isa == Isa::avx2) return &gemm_tile_avx2_rows<S>;
#endif
  return &gemm_tile_portable_rows<S>;
}

}  // namespace hone::detail
