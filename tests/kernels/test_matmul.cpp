#include "every_device.hpp"
#include "gemm_library.hpp"

#include <hone/cpu/matmul.hpp>
#include <hone/kernels/matmul.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Sizes {
  std::int64_t m, n, k;
};
// One element, less than a tile, exactly one, edges of every kind, three turns along k, nothing to sum.
constexpr Sizes every_size[] = {{1, 1, 1},      {5, 3, 7},   {64, 64, 64}, {70, 66, 40},
                                {33, 130, 136}, {1, 64, 65}, {8, 8, 0}};

std::vector<double> product(const Sizes& s, const MatMulOptions& o, const std::vector<double>& a,
                            const std::vector<double>& b) {
  std::vector<double> c;
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = 0; j < s.n; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < s.k; ++k)
        sum += a[static_cast<std::size_t>(o.transpose_a ? k * s.m + i : i * s.k + k)] *
               b[static_cast<std::size_t>(o.transpose_b ? j * s.k + k : k * s.n + j)];
      c.push_back(o.alpha * sum);
    }
  }
  return c;
}

template <class D>
Tensor<std::byte, D> workspace(const D& device, const Sizes& s) {
  std::int64_t bytes = device.target().gemm_workspace;
  if constexpr (std::is_same_v<D, Cpu>) bytes = matmul_workspace_bytes(device.target(), s.m, s.n, s.k);
  return Tensor<std::byte, D>::empty(device, {bytes});
}

template <class A, class B, class C, class D>
void multiply(const D& device, const Sizes& s, const MatMulOptions& options, const Tensor<A, D>& a,
              const Tensor<B, D>& b, const Tensor<C, D>& c) {
  const auto scratch = workspace(device, s);
  run_kernel<kernel::MatMul>(device, options, View<const A, 2>(a.template view<2>()),
                             View<const B, 2>(b.template view<2>()), c.template view<2>(), scratch.template view<1>());
}

/// A factor with whole-vector rows, or one whose rows and base are odd.
template <class D>
Tensor<bf16, D> factor(const D& device, std::int64_t rows, std::int64_t cols, bool aligned, std::uint64_t seed) {
  const std::int64_t padded = round_up(cols, 8);
  return aligned ? random_tensor<bf16, D>({rows, padded}, seed, -1, 1, device).columns(0, cols)
                 : random_slice<bf16, D>(device, rows, cols, 1, seed);
}

}  // namespace

TEST_CASE_TEMPLATE("matmul of bf16: all transpositions, edges, aligned rows and odd ones", P, On<Cpu, float>,
                   On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using C = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const bool aligned : {false, true}) {
          const std::string problem = fmt::format("{} x {} x {}, {}{}{}", s.m, s.n, s.k, transpose_a ? "T" : "N",
                                                  transpose_b ? "T" : "N", aligned ? "" : ", odd");
          MatMulOptions options{.transpose_a = transpose_a, .transpose_b = transpose_b};
          const auto a = factor(device, transpose_a ? s.k : s.m, transpose_a ? s.m : s.k, aligned, 1);
          const auto b = factor(device, transpose_b ? s.n : s.k, transpose_b ? s.k : s.n, aligned, 2);
          const auto want = product(s, options, doubles(a), doubles(b));
          const auto got = in_every_order<D>([&] {
            const auto c = Tensor<C, D>::empty(device, {s.m, s.n});
            multiply(device, s, options, a, b, c);
            return joined(c);
          });
          CHECK(near<C>(got, want, problem));
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("matmul of float and of mixed factors", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using B = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{70, 66, 40}, Sizes{5, 130, 17}, Sizes{4, 4, 0}}) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        const MatMulOptions options{
            .transpose_a = transpose_a, .transpose_b = transpose_b, .alpha = 0.5, .accumulate = true};
        const auto a = random_tensor<float, D>(transpose_a ? Shape{s.k, s.m} : Shape{s.m, s.k}, 1, -1, 1, device);
        const auto b = random_tensor<B, D>(transpose_b ? Shape{s.n, s.k} : Shape{s.k, s.n}, 2, -1, 1, device);
        auto want = product(s, options, doubles(a), doubles(b));
        for (double& value : want) value += 1;
        const auto got = in_every_order<D>([&] {
          const auto c =
              Tensor<float, D>::from(device, {s.m, s.n}, std::vector<float>(static_cast<std::size_t>(s.m * s.n), 1.0f));
          multiply(device, s, options, a, b, c);
          return joined(c);
        });
        CHECK(near<B>(got, want, "c"));  // fp32 throughout, or one factor rounded to bf16
      }
    }
  }
}

TEST_CASE_TEMPLATE("matmul: alpha, accumulate, a column slice as the result, aligned or not", P, On<Cpu, float>,
                   On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using C = typename P::Element;
  const D device = poisoned_device<D>();
  const Sizes s{19, 21, 24};  // the last vector of a row of c is cut off
  const MatMulOptions options{.transpose_b = true, .alpha = -0.75, .accumulate = true};
  const auto a = factor(device, s.m, s.k, true, 1), b = factor(device, s.n, s.k, true, 2);
  for (const std::int64_t offset : {2, 8}) {
    constexpr std::int64_t width = 32;
    const auto wide = random_tensor<C, D>({s.m, width}, 3, -1, 1, device);
    const auto c = wide.columns(offset, s.n);
    auto want = product(s, options, doubles(a), doubles(b));
    const auto before = doubles(c), edges = doubles(wide);
    for (std::size_t i = 0; i < want.size(); ++i) want[i] += before[i];
    multiply(device, s, options, a, b, c);
    CHECK(near<C>(doubles(c), want, fmt::format("c at column {}", offset)));
    const auto after = doubles(wide);
    for (std::size_t i = 0; i < after.size(); ++i) {
      const auto column = static_cast<std::int64_t>(i) % width;
      if (column < offset || column >= offset + s.n) CHECK(after[i] == edges[i]);
    }
  }
}

TEST_CASE_TEMPLATE("matmul is exact on small integers", D, Cpu, Emu) {
  const D device = poisoned_device<D>();
  const Sizes s{40, 72, 80};
  const auto whole = [](std::vector<double> values) {
    std::vector<bf16> out;
    for (const double value : values) out.push_back(bf16(std::round(value)));
    return out;
  };
  const auto a = Tensor<bf16, D>::from(device, {s.m, s.k}, whole(random_values(s.m * s.k, 1, -8, 8)));
  const auto b = Tensor<bf16, D>::from(device, {s.k, s.n}, whole(random_values(s.k * s.n, 2, -8, 8)));
  const auto c = Tensor<float, D>::empty(device, {s.m, s.n});
  multiply(device, s, {}, a, b, c);
  CHECK(doubles(c) == product(s, {}, doubles(a), doubles(b)));
}

TEST_CASE("matmul on Emu: tensor core work, conflict-free tiles, shapes refused") {
  const Emu device = poisoned_device<Emu>();
  const Sizes s{64, 64, 128};
  const auto c = Tensor<float, Emu>::empty(device, {64, 64});
  const emulator::WithSettings settings({.count_requests = true});
  for (const bool transposed : {false, true}) {
    const auto tall = factor(device, 128, 64, true, 1), flat = factor(device, 64, 128, true, 2);
    emulator::counters() = {};
    multiply(device, s, {.transpose_a = transposed, .transpose_b = transposed}, transposed ? tall : flat,
             transposed ? flat : tall, c);
    const auto& seen = emulator::counters();
    CHECK(seen.mma_flops == 2 * 64 * 64 * 128);
    CHECK(seen.async_copy_bytes == 2 * 64 * 128 * 2);
    CHECK(seen.global_load_sectors == 2 * 64 * 128 * 2 / 32);  // nothing is read twice, nothing for naught
    CHECK(seen.shared_requests > 0);
    CHECK(seen.shared_bank_conflicts == 0);
    CHECK(seen.barriers == 2 * 2);
  }
  const auto square = factor(device, 64, 64, true, 1);
  CHECK_THROWS_AS(multiply(device, s, {}, square, square.columns(0, 32), c), Error);
}

TEST_CASE_TEMPLATE("matmul on Emu writes 16 bytes a lane and whole sectors", C, float, bf16) {
  const Emu device = poisoned_device<Emu>();
  const Sizes s{64, 128, 16};
  const auto a = factor(device, s.m, s.k, true, 1), b = factor(device, s.k, s.n, true, 2);
  const auto c = Tensor<C, Emu>::empty(device, {s.m, s.n});
  const emulator::WithSettings settings({.count_requests = true});
  emulator::counters() = {};
  multiply(device, s, {}, a, b, c);
  const auto& seen = emulator::counters();
  CHECK(seen.global_store_sectors == s.m * s.n * static_cast<std::int64_t>(sizeof(C)) / 32);
  CHECK(seen.global_store_requests == seen.global_store_sectors / 16);
}

TEST_CASE_TEMPLATE("large products on Emu go to the GEMM library, by all transpositions and into both types", C, float,
                   bf16) {
  const Emu device = poisoned_device<Emu>();
  const Sizes s{130, 128, 136};
  const auto wide = random_tensor<C, Emu>({s.m, s.n + 8}, 3, -1, 1, device);
  const auto before = doubles(wide.columns(8, s.n));
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      const MatMulOptions options{
          .transpose_a = transpose_a, .transpose_b = transpose_b, .alpha = 0.25, .accumulate = true};
      const auto a = factor(device, transpose_a ? s.k : s.m, transpose_a ? s.m : s.k, true, 1);
      const auto b = factor(device, transpose_b ? s.n : s.k, transpose_b ? s.k : s.n, false, 2);
      auto want = product(s, options, doubles(a), doubles(b));
      for (std::size_t i = 0; i < want.size(); ++i) want[i] += before[i];
      const auto c = random_tensor<C, Emu>({s.m, s.n + 8}, 3, -1, 1, device).columns(8, s.n);
      const GemmLibrary library;
      emulator::counters() = {};
      multiply(device, s, options, a, b, c);
      CHECK(library.products() == 1);
      CHECK(emulator::counters().launches == 0);
      CHECK(near<C>(doubles(c), want, fmt::format("c {} {}", transpose_a, transpose_b)));
    }
  }
}

TEST_CASE("what the GEMM library refuses is done by the kernel; its errors are told") {
  const Emu device = poisoned_device<Emu>();
  const Sizes s{128, 128, 128};
  const auto a = factor(device, s.m, s.k, true, 1), b = factor(device, s.k, s.n, true, 2);
  const auto c = Tensor<float, Emu>::empty(device, {s.m, s.n});
  {
    const GemmLibrary library(gpu::not_supported);
    multiply(device, s, {}, a, b, c);
    CHECK(library.products() == 1);
    CHECK(near<float>(doubles(c), product(s, {}, doubles(a), doubles(b)), "c"));
  }
  const GemmLibrary library(719);
  CHECK_THROWS_WITH_AS(multiply(device, s, {}, a, b, c),
                       "[cuda] matmul by the GEMM library failed: a call that the test made fail (status 719)", Error);
  multiply(device, {8, 128, 128}, {}, a.rows(0, 8), b, c.rows(0, 8));  // too small to be worth a call
  CHECK(library.products() == 1);
}
