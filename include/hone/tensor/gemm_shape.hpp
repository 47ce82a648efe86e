// GemmShape: all that a GEMM library's choice of an algorithm depends on, apart from where the operands lie.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/tensor/matmul_options.hpp>
#include <hone/tensor/view.hpp>

#include <algorithm>
#include <compare>
#include <cstdint>

namespace hone::gpu {

/// One product c = op(a) op(b), added to c where `accumulate`. Matrices are row-major with rows lda, ldb, ldc elements
/// apart; op(a) is (m, k), op(b) is (k, n), and a flag says that the stored matrix is the transpose.
struct GemmShape {
  DType a_type = DType::f32, b_type = DType::f32, c_type = DType::f32;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldc = 0;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
  std::int64_t workspace_bytes = 0;

  friend auto operator<=>(const GemmShape&, const GemmShape&) = default;
};

/// The shape of a product as the kernel is asked for it.
template <class A, class B, class C>
GemmShape gemm_shape(const MatMulOptions& options, const View<A, 2>& a, const View<B, 2>& b, const View<C, 2>& c,
                     std::int64_t workspace_bytes) {
  return {.a_type = dtype_of<A>,
          .b_type = dtype_of<B>,
          .c_type = dtype_of<C>,
          .m = c.rows(),
          .n = c.extent(1),
          .k = a.extent(options.transpose_a ? 0 : 1),
          .lda = std::max(a.stride, a.extent(1)),
          .ldb = std::max(b.stride, b.extent(1)),
          .ldc = std::max(c.stride, c.extent(1)),
          .transpose_a = options.transpose_a,
          .transpose_b = options.transpose_b,
          .accumulate = options.accumulate,
          .workspace_bytes = workspace_bytes};
}

/// From this many multiplications on a product is the library's: below, a launch costs more than the work.
inline constexpr double library_products = 1 << 21;

/// Whether the library is asked for a product of this shape: two factors of one type, into that type or float.
constexpr bool is_for_library(const GemmShape& shape) {
  const bool known = shape.a_type == shape.b_type && (shape.a_type == DType::f32 || shape.a_type == DType::bf16) &&
                     (shape.c_type == DType::f32 || shape.c_type == shape.a_type);
  return known &&
         static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k) >= library_products;
}

}  // namespace hone::gpu
