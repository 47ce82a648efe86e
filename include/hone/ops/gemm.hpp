// Matrix products inside ops: allocates the kernel's workspace under a name and runs it. Not differentiated by itself.
#pragma once

#include <hone/cpu/matmul.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/matmul_options.hpp>
#include <hone/tensor/tensor.hpp>

#include <cstddef>
#include <string_view>

namespace hone {

namespace kernel {
/// c = alpha op(a) op(b), or c += ...
struct MatMul {
  template <class A, class B, class C, class Scratch>
  static double flops(const MatMulOptions& options, const View<A, 2>& a, const View<B, 2>&, const View<C, 2>& c,
                      const Scratch&) {
    const std::int64_t inner = options.transpose_a ? a.extent(0) : a.extent(1);
    return 2.0 * static_cast<double>(c.extent(0)) * static_cast<double>(c.extent(1)) * static_cast<double>(inner);
  }
  static Traffic traffic(const MatMulOptions& options, const auto& a, const auto& b, const auto& c, const auto&) {
    return {bytes_of(a) + bytes_of(b) + (options.accumulate ? bytes_of(c) : 0), bytes_of(c)};
  }
  /// What a GEMM library would be asked for.
  static gpu::GemmShape product(const MatMulOptions& options, const auto& a, const auto& b, const auto& c,
                                const auto& scratch) {
    return gpu::gemm_shape(options, a, b, c, scratch.extent(0));
  }
};
}  // namespace kernel

/// Scratch bytes a product of (m, k) x (k, n) needs on `target`.
inline std::int64_t workspace_bytes(Tag<kernel::MatMul>, const Target& target, std::int64_t m, std::int64_t n,
                                    std::int64_t k) {
  return target.kind == DeviceKind::cpu ? matmul_workspace_bytes(target, m, n, k) : target.gemm_workspace;
}

/// Scratch of `bytes` bytes, booked as workspace under `name`.
template <Device D>
Tensor<std::byte, D> make_workspace(const D& device, std::int64_t bytes, std::string_view name) {
  return Tensor<std::byte, D>::empty(device, {bytes}, {Category::workspace, name});
}

/// c = alpha op(a) op(b), added to c where options.accumulate. a, b, c are matrices; op transposes as the options say.
/// `scratch` has at least the workspace_bytes of the product.
template <class A, class B, class C, Device D>
void gemm(const Tensor<A, D>& a, const Tensor<B, D>& b, const Tensor<C, D>& c, const MatMulOptions& options,
          const Tensor<std::byte, D>& scratch) {
  run_kernel<kernel::MatMul>(c.device(), options, a.template in<2>(), b.template in<2>(), c.template view<2>(),
                             scratch.template view<1>());
}

/// The same with scratch of its own.
template <class A, class B, class C, Device D>
void gemm(const Tensor<A, D>& a, const Tensor<B, D>& b, const Tensor<C, D>& c, const MatMulOptions& options) {
  const std::int64_t inner = options.transpose_a ? a.extent(0) : a.extent(1);
  const std::int64_t bytes =
      workspace_bytes(Tag<kernel::MatMul>{}, c.device().target(), c.extent(0), c.extent(1), inner);
  gemm(a, b, c, options, make_workspace(c.device(), bytes, "gemm"));
}

}  // namespace hone
