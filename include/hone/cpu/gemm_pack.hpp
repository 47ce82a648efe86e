// Packing for the matrix product: a panel of op(A) or op(B) copied into the order its micro-kernel reads, widened to
// the type sums are formed in. Panel element (i, p), i < width, stands at p * width + i; rows past the matrix are
// zeros.
#pragma once

#include <hone/core/config.hpp>
#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/vector_math.hpp>

#include <cstdint>
#include <type_traits>

namespace hone::detail {

/// One side of the product as packing sees it: `size` vectors of length k, in memory k-contiguous or side by side.
struct GemmSide {
  const void* data;
  std::int64_t stride;  // elements between memory rows
  bool k_contiguous;    // element (i, p) at i * stride + p; else at p * stride + i
};

template <class S>
using GemmPack = void (*)(GemmSide side, std::int64_t first, std::int64_t valid, std::int64_t width,
                          std::int64_t first_k, std::int64_t k, S* panel);

template <class S, class T>
struct GemmPackBody {
  HONE_ALWAYS_INLINE static void run(GemmSide side, std::int64_t first, std::int64_t valid, std::int64_t width,
                                     std::int64_t first_k, std::int64_t k, S* panel) {
    const T* from = static_cast<const T*>(side.data);
    if (side.k_contiguous)
      turn(from + first * side.stride + first_k, side.stride, valid, width, k, panel);
    else
      copy(from + first_k * side.stride + first, side.stride, valid, width, k, panel);
  }

 private:
  HONE_ALWAYS_INLINE static void copy(const T* from, std::int64_t stride, std::int64_t valid, std::int64_t width,
                                      std::int64_t k, S* panel) {
    for (std::int64_t p = 0; p < k; ++p, from += stride, panel += width) {
      for (std::int64_t i = 0; i < valid; ++i) panel[i] = widen(from[i]);
      for (std::int64_t i = valid; i < width; ++i) panel[i] = S{0};
    }
  }

  // Blocks of 16 steps: the lines of the panel being written stay in the first cache level.
  HONE_ALWAYS_INLINE static void turn(const T* from, std::int64_t stride, std::int64_t valid, std::int64_t width,
                                      std::int64_t k, S* panel) {
    constexpr std::int64_t steps = 16;
    for (std::int64_t p = 0; p < k; p += steps, panel += steps * width) {
      const std::int64_t count = k - p < steps ? k - p : steps;
      for (std::int64_t i = 0; i < valid; ++i) {
        const T* row = from + i * stride + p;
        for (std::int64_t q = 0; q < count; ++q) panel[q * width + i] = widen(row[q]);
      }
      for (std::int64_t i = valid; i < width; ++i)
        for (std::int64_t q = 0; q < count; ++q) panel[q * width + i] = S{0};
    }
  }
};

template <class S, class T>
GemmPack<S> gemm_pack_common(Isa isa) {
  return isa_path<GemmPackBody<S, T>, GemmSide, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                  S*>(isa);
}

#if HONE_X86
/// GemmPackBody's `turn` for float sums: squares of 8 x 8 are transposed in registers, the rest one by one. AVX-512
/// uses it as well.
template <class T>
HONE_TARGET_AVX2 void gemm_turn_avx2(const T* from, std::int64_t stride, std::int64_t valid, std::int64_t width,
                                     std::int64_t k, float* panel) {
  typedef float Eight __attribute__((vector_size(32)));
  typedef float EightLoose __attribute__((vector_size(32), aligned(4), may_alias));
  typedef float FourLoose __attribute__((vector_size(16), aligned(4), may_alias));
  typedef std::uint32_t EightBits __attribute__((vector_size(32)));
  typedef std::uint16_t EightHalvesLoose __attribute__((vector_size(16), aligned(2), may_alias));
  const std::int64_t squares = k / 8 * 8;
  for (std::int64_t i = 0; i < width; i += 8)
    for (std::int64_t p = 0; p < squares; p += 8) {
      Eight x[8], y[8];
      for (int r = 0; r < 8; ++r) {
        const T* row = from + (i + r) * stride + p;
        if (i + r >= valid)
          x[r] = Eight{};
        else if constexpr (sizeof(T) == 4)
          x[r] = *reinterpret_cast<const EightLoose*>(row);
        else
          x[r] = (Eight)(__builtin_convertvector(*reinterpret_cast<const EightHalvesLoose*>(row), EightBits) << 16);
      }
      for (int r = 0; r < 8; r += 2) {  // pairs of rows
        y[r] = __builtin_shufflevector(x[r], x[r + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        y[r + 1] = __builtin_shufflevector(x[r], x[r + 1], 2, 10, 3, 11, 6, 14, 7, 15);
      }
      for (int r = 0; r < 8; r += 4) {  // fours
        x[r] = __builtin_shufflevector(y[r], y[r + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        x[r + 1] = __builtin_shufflevector(y[r], y[r + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        x[r + 2] = __builtin_shufflevector(y[r + 1], y[r + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        x[r + 3] = __builtin_shufflevector(y[r + 1], y[r + 3], 2, 3, 10, 11, 6, 7, 14, 15);
      }
      for (int r = 0; r < 4; ++r) {  // all eight
        y[r] = __builtin_shufflevector(x[r], x[r + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        y[r + 4] = __builtin_shufflevector(x[r], x[r + 4], 4, 5, 6, 7, 12, 13, 14, 15);
      }
      float* out = panel + p * width + i;
      for (int q = 0; q < 8; ++q, out += width) {
        if (width - i >= 8) {
          *reinterpret_cast<EightLoose*>(out) = y[q];
        } else if (width - i == 4) {
          *reinterpret_cast<FourLoose*>(out) = __builtin_shufflevector(y[q], y[q], 0, 1, 2, 3);
        } else {
          for (std::int64_t e = 0; e < width - i; ++e) out[e] = y[q][e];
        }
      }
    }
  for (std::int64_t p = squares; p < k; ++p)
    for (std::int64_t i = 0; i < width; ++i) panel[p * width + i] = i < valid ? widen(from[i * stride + p]) : 0.0f;
}

/// Float sums on a path with AVX2: turned in registers, or copied the common way.
template <Isa isa, class T>
void gemm_pack_float(GemmSide side, std::int64_t first, std::int64_t valid, std::int64_t width, std::int64_t first_k,
                     std::int64_t k, float* panel) {
  if (!side.k_contiguous) return gemm_pack_common<float, T>(isa)(side, first, valid, width, first_k, k, panel);
  const T* from = static_cast<const T*>(side.data) + first * side.stride + first_k;
  gemm_turn_avx2(from, side.stride, valid, width, k, panel);
}
#endif

template <class S, class T>
GemmPack<S> gemm_pack(Isa isa) {
#if HONE_X86
  if constexpr (std::is_same_v<S, float>) {
    if (isa == Isa::avx512) return &gemm_pack_float<Isa::avx512, T>;
    if (isa == Isa::avx2) return &gemm_pack_float<Isa::avx2, T>;
  }
#endif
  return gemm_pack_common<S, T>(isa);
}

}  // namespace hone::detail
