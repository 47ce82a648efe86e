// The matrix product where one side has a handful of rows (decoding, LoRA of small rank) and the other is k-contiguous:
// every element of C is a dot product, the large side is read once, in place, and nothing of it is packed.
#pragma once

#include <hone/core/config.hpp>
#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/vector_math.hpp>

#include <cstdint>

namespace hone::detail {

/// Rows of the small side are handled four at a time: four chains of fma hide each other's latency.
inline constexpr std::int64_t gemm_direct_rows = 4;
inline constexpr std::int64_t gemm_direct_largest = 8;

/// C as its writers see it: element (i, j) of the product they compute at i * row_step + j * col_step.
struct GemmResult {
  void* data;
  std::int64_t row_step, col_step;
  double alpha;
  bool accumulate;
};

template <class S, class C>
HONE_ALWAYS_INLINE void gemm_store(const GemmResult& result, std::int64_t i, std::int64_t j, S sum) {
  C* at = static_cast<C*>(result.data) + i * result.row_step + j * result.col_step;
  const S scaled = static_cast<S>(result.alpha) * sum;
  *at = round_to<C>(result.accumulate ? widen(*at) + scaled : scaled);
}

/// C(i, j) for j in [first, last) and all i < m. `rows`: the small side packed k-contiguous, (m rounded up to four, k).
template <class S, class B, class C>
struct GemmDotsBody {
  HONE_ALWAYS_INLINE static void run(const S* rows, std::int64_t m, std::int64_t k, const void* b,
                                     std::int64_t b_stride, std::int64_t first, std::int64_t last, GemmResult result) {
    for (std::int64_t j = first; j < last; ++j) {
      const B* column = static_cast<const B*>(b) + j * b_stride;
      for (std::int64_t i = 0; i < m; i += gemm_direct_rows) {
        S sums[gemm_direct_rows];
        four_dots(rows + i * k, k, column, sums);
        for (std::int64_t r = 0; r < gemm_direct_rows && i + r < m; ++r) gemm_store<S, C>(result, i + r, j, sums[r]);
      }
    }
  }

 private:
  // One loop over the lanes feeds all four sums, and the rest of k is added apart: the form both compilers keep in
  // registers. restrict: the four rows, the column and the sums are different arrays.
  HONE_ALWAYS_INLINE static void four_dots(const S* HONE_RESTRICT a, std::int64_t k, const B* HONE_RESTRICT b,
                                           S* HONE_RESTRICT sums) {
    const S *a1 = a + k, *a2 = a1 + k, *a3 = a2 + k;
    Lanes<S> s0(S{0}), s1(S{0}), s2(S{0}), s3(S{0});
    std::int64_t p = 0;
    for (; p + lane_count <= k; p += lane_count)
      for (int l = 0; l < lane_count; ++l) {
        const S value = widen(b[p + l]);
        s0.lane[l] += a[p + l] * value;
        s1.lane[l] += a1[p + l] * value;
        s2.lane[l] += a2[p + l] * value;
        s3.lane[l] += a3[p + l] * value;
      }
    S rest[gemm_direct_rows] = {};
    for (; p < k; ++p) {
      const S value = widen(b[p]);
      rest[0] += a[p] * value;
      rest[1] += a1[p] * value;
      rest[2] += a2[p] * value;
      rest[3] += a3[p] * value;
    }
    sums[0] = sum_of_lanes(s0) + rest[0];
    sums[1] = sum_of_lanes(s1) + rest[1];
    sums[2] = sum_of_lanes(s2) + rest[2];
    sums[3] = sum_of_lanes(s3) + rest[3];
  }
};

/// C(i, j) of a block from its sums, (rows, cols) at `sums`: where C is narrower than the sums, or transposed.
template <class S, class C>
struct GemmFinishBody {
  HONE_ALWAYS_INLINE static void run(const S* sums, std::int64_t sums_stride, std::int64_t i, std::int64_t rows,
                                     std::int64_t j, std::int64_t cols, GemmResult result) {
    if (result.col_step == 1) {
      result.col_step = 1;  // a constant from here on: the loop below becomes vector code
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t q = 0; q < cols; ++q) gemm_store<S, C>(result, i + r, j + q, sums[r * sums_stride + q]);
    } else {
      for (std::int64_t q = 0; q < cols; ++q)
        for (std::int64_t r = 0; r < rows; ++r) gemm_store<S, C>(result, i + r, j + q, sums[r * sums_stride + q]);
    }
  }
};

template <class S>
using GemmDots = void (*)(const S* rows, std::int64_t m, std::int64_t k, const void* b, std::int64_t b_stride,
                          std::int64_t first, std::int64_t last, GemmResult result);
template <class S>
using GemmFinish = void (*)(const S* sums, std::int64_t sums_stride, std::int64_t i, std::int64_t rows, std::int64_t j,
                            std::int64_t cols, GemmResult result);

template <class S, class B, class C>
GemmDots<S> gemm_dots(Isa isa) {
  return isa_path<GemmDotsBody<S, B, C>, const S*, std::int64_t, std::int64_t, const void*, std::int64_t, std::int64_t,
                  std::int64_t, GemmResult>(isa);
}
template <class S, class C>
GemmFinish<S> gemm_finish(Isa isa) {
  return isa_path<GemmFinishBody<S, C>, const S*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                  GemmResult>(isa);
}

}  // namespace hone::detail
