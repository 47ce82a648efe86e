// A GEMM library for the emulated driver's table: the processor's own matrix product.
#pragma once

#include <hone/cpu/matmul.hpp>
#include <hone/tensor/emulated_driver.hpp>
#include <hone/tensor/kernel.hpp>

#include <cstddef>
#include <vector>

namespace hone::test {

/// While one lives, the emulated driver has a GEMM library that counts its products and answers `status`.
class GemmLibrary {
 public:
  explicit GemmLibrary(int status = 0) {
    state() = {0, status};
    gpu::emulated_driver().matmul = [](const gpu::MatMulCall& call, void*) {
      ++state().products;
      if (state().status == 0) multiply(call);
      return state().status;
    };
  }
  ~GemmLibrary() { gpu::emulated_driver().matmul = nullptr; }
  GemmLibrary(const GemmLibrary&) = delete;
  GemmLibrary& operator=(const GemmLibrary&) = delete;

  static int products() { return state().products; }

 private:
  struct State {
    int products = 0, status = 0;
  };
  static State& state() {
    static State value;
    return value;
  }

  template <class T>
  static View<T, 2> matrix(T* data, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
    return {data, {rows, cols}, stride};
  }

  template <class F, class C>
  static void multiply_as(const gpu::MatMulCall& call) {
    const Cpu device(Cpu::Options{.threads = 1});
    std::vector<std::byte> scratch(
        static_cast<std::size_t>(matmul_workspace_bytes(device.target(), call.shape.m, call.shape.n, call.shape.k)) +
        64);
    const auto past = reinterpret_cast<std::uintptr_t>(scratch.data()) % 64;
    const View<std::byte, 1> workspace{
        scratch.data() + (64 - past) % 64, {static_cast<std::int64_t>(scratch.size()) - 64}, 1};
    const std::int64_t a_rows = call.shape.transpose_a ? call.shape.k : call.shape.m,
                       b_rows = call.shape.transpose_b ? call.shape.n : call.shape.k;
    run_kernel<kernel::MatMul>(
        device,
        MatMulOptions{.transpose_a = call.shape.transpose_a,
                      .transpose_b = call.shape.transpose_b,
                      .alpha = static_cast<double>(call.alpha),
                      .accumulate = call.shape.accumulate},
        matrix(static_cast<const F*>(call.a), a_rows, call.shape.m + call.shape.k - a_rows, call.shape.lda),
        matrix(static_cast<const F*>(call.b), b_rows, call.shape.n + call.shape.k - b_rows, call.shape.ldb),
        matrix(static_cast<C*>(call.c), call.shape.m, call.shape.n, call.shape.ldc), workspace);
  }

  static void multiply(const gpu::MatMulCall& call) {
    if (call.shape.a_type == DType::f32) return multiply_as<float, float>(call);
    call.shape.c_type == DType::f32 ? multiply_as<bf16, float>(call) : multiply_as<bf16, bf16>(call);
  }
};

}  // namespace hone::test
