// Packing for the matrix product: a panel of op(A) or op(B) copied into the order its micro-kernel reads, widened to
// the type sums are formed in. Panel element (i, p), i < width, stands at p * width + i; rows past the matrix are
// zeros.
#pragma once

#include <hone/core/config.hpp>
#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/vector_math.hpp>

#include <cstdint>

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
GemmPack<S> gemm_pack(Isa isa) {
  return isa_path<GemmPackBody<S, T>, GemmSide, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                  S*>(isa);
}

}  // namespace hone::detail
