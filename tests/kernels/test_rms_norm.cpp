#include "every_device.hpp"

#include <hone/cpu/rms_norm.hpp>
#include <hone/kernels/rms_norm.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Sizes {
  std::int64_t rows, cols;
};
// One token, one feature, odd sizes, whole vectors, rows wider than a block, more rows than partial sums.
constexpr Sizes every_size[] = {{1, 1}, {1, 8}, {3, 7}, {5, 64}, {33, 130}, {2, 1160}, {1, 2051}, {530, 8}};
constexpr double eps = 0.1;  // large, or dx of a single feature is all cancellation

struct Reference {
  std::vector<double> y, rstd, dx, dweight;
};

Reference reference(const Sizes& s, const std::vector<double>& x, const std::vector<double>& weight,
                    const std::vector<double>& dy) {
  Reference out;
  out.dweight.assign(static_cast<std::size_t>(s.cols), 0);
  for (std::int64_t row = 0; row < s.rows; ++row) {
    const double* xs = x.data() + row * s.cols;
    const double* dys = dy.data() + row * s.cols;
    double squares = 0, dot = 0;
    for (std::int64_t c = 0; c < s.cols; ++c) squares += xs[c] * xs[c];
    const double r = 1 / std::sqrt(squares / static_cast<double>(s.cols) + eps);
    for (std::int64_t c = 0; c < s.cols; ++c) dot += dys[c] * weight[static_cast<std::size_t>(c)] * xs[c] * r;
    for (std::int64_t c = 0; c < s.cols; ++c) {
      const double w = weight[static_cast<std::size_t>(c)];
      out.y.push_back(xs[c] * r * w);
      out.dx.push_back(r * (dys[c] * w - xs[c] * r * dot / static_cast<double>(s.cols)));
      out.dweight[static_cast<std::size_t>(c)] += dys[c] * xs[c] * r;
    }
    out.rstd.push_back(r);
  }
  return out;
}

template <class D>
Tensor<std::byte, D> workspace(const D& device, const Sizes& s) {
  std::int64_t bytes = 0;
  if constexpr (std::is_same_v<D, Cpu>)
    bytes = rms_norm_workspace_bytes(device.target(), s.rows, s.cols);
  else
    bytes = gpu::rms_norm_workspace_bytes(device.target(), s.rows, s.cols);
  return Tensor<std::byte, D>::empty(device, {bytes});
}

}  // namespace

TEST_CASE_TEMPLATE("rms_norm forward", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    CAPTURE(s.rows);
    CAPTURE(s.cols);
    const auto x = random_tensor<T, D>({s.rows, s.cols}, 1, -2, 2, device);
    const auto weight = random_tensor<T, D>({s.cols}, 2, 0.5, 1.5, device);
    const auto want = reference(s, doubles(x), doubles(weight), doubles(x));
    const auto got = in_every_order<D>([&] {
      const auto y = Tensor<T, D>::empty(device, {s.rows, s.cols});
      const auto rstd = Tensor<float, D>::empty(device, {s.rows});
      run_kernel<kernel::RmsNormForward>(device, x.template view<2>(), weight.template view<1>(), eps,
                                         y.template view<2>(), rstd.template view<1>());
      return joined(y, rstd);
    });
    CHECK(near<T>(part(got, 0, s.rows * s.cols), want.y, "y"));
    CHECK(near<float>(part(got, s.rows * s.cols, s.rows), want.rstd, "rstd"));
  }
}

TEST_CASE_TEMPLATE("add + rms_norm forward, in place, reads the rounded sum", P, On<Cpu, float>, On<Cpu, bf16>,
                   On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    CAPTURE(s.cols);
    const auto delta = random_tensor<T, D>({s.rows, s.cols}, 4, -2, 2, device);
    const auto weight = random_tensor<T, D>({s.cols}, 5, 0.5, 1.5, device);
    const auto start = doubles(random_tensor<T, D>({s.rows, s.cols}, 3, -2, 2, device));
    std::vector<double> sum = doubles(delta);
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] = static_cast<double>(T(static_cast<float>(sum[i]) + static_cast<float>(start[i])));
    const auto got = in_every_order<D>([&] {
      const auto x = random_tensor<T, D>({s.rows, s.cols}, 3, -2, 2, device);
      const auto y = Tensor<T, D>::empty(device, {s.rows, s.cols});
      run_kernel<kernel::AddRmsNormForward>(device, x.template view<2>(), delta.template view<2>(),
                                            weight.template view<1>(), eps, x.template view<2>(), y.template view<2>(),
                                            View<float, 1>{nullptr, {0}, 1});
      return joined(x, y);
    });
    CHECK(part(got, 0, s.rows * s.cols) == sum);
    CHECK(near<T>(part(got, s.rows * s.cols, s.rows * s.cols), reference(s, sum, doubles(weight), sum).y, "y"));
  }
}

TEST_CASE_TEMPLATE("rms_norm on column slices", P, On<Cpu, float>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  const Sizes s{5, 24};
  for (const std::int64_t offset : {0, 1, 8}) {  // aligned base or not; the stride of 27 + offset elements never is
    const auto x = random_slice<T, D>(device, s.rows, s.cols, offset, 6);
    const auto weight = random_tensor<T, D>({s.cols}, 2, 0.5, 1.5, device);
    const auto wide = random_tensor<T, D>({s.rows, s.cols + 9}, 8, -1, 1, device);
    const auto y = wide.columns(4, s.cols);
    const auto before = doubles(wide);
    run_kernel<kernel::RmsNormForward>(device, x.template view<2>(), weight.template view<1>(), eps,
                                       y.template view<2>(), View<float, 1>{nullptr, {0}, 1});
    CHECK(near<T>(doubles(y), reference(s, doubles(x), doubles(weight), doubles(x)).y, "y"));
    const auto after = doubles(wide);
    for (std::size_t i = 0; i < after.size(); ++i) {
      const std::size_t col = i % static_cast<std::size_t>(s.cols + 9);
      if (col < 4 || col >= static_cast<std::size_t>(s.cols) + 4) CHECK(after[i] == before[i]);  // neighbours stay
    }
  }
}

TEST_CASE_TEMPLATE("rms_norm backward: overwrite, accumulate, absent outputs", P, On<Cpu, float>, On<Cpu, bf16>,
                   On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    CAPTURE(s.rows);
    CAPTURE(s.cols);
    const auto x = random_tensor<T, D>({s.rows, s.cols}, 1, -2, 2, device);
    const auto dy = random_tensor<T, D>({s.rows, s.cols}, 7, -1, 1, device);
    const auto weight = random_tensor<T, D>({s.cols}, 2, 0.5, 1.5, device);
    const auto want = reference(s, doubles(x), doubles(weight), doubles(dy));
    std::vector<float> r(want.rstd.begin(), want.rstd.end());
    const auto rstd = Tensor<float, D>::from(device, {s.rows}, r);
    const std::int64_t size = s.rows * s.cols;
    const auto backward = [&](View<T, 2> dx, bool accumulate, auto dweight, bool accumulate_weight) {
      const auto scratch = workspace(device, s);
      run_kernel<kernel::RmsNormBackward>(device, dy.template view<2>(), x.template view<2>(),
                                          weight.template view<1>(), rstd.template view<1>(), dx, accumulate, dweight,
                                          accumulate_weight, scratch.template view<1>());
    };
    const auto got = in_every_order<D>([&] {
      const auto dx = Tensor<T, D>::empty(device, {s.rows, s.cols});
      const auto dweight = Tensor<float, D>::empty(device, {s.cols});
      backward(dx.template view<2>(), false, dweight.template view<1>(), false);
      return joined(dx, dweight);
    });
    CHECK(near<T>(part(got, 0, size), want.dx, "dx"));
    CHECK(near<float>(part(got, size, s.cols), want.dweight, "dweight"));

    const auto dx = random_tensor<T, D>({s.rows, s.cols}, 8, -1, 1, device);
    const auto dweight = random_tensor<T, D>({s.cols}, 9, -1, 1, device);
    auto dx_sum = doubles(dx), dweight_sum = doubles(dweight);
    for (std::size_t i = 0; i < dx_sum.size(); ++i) dx_sum[i] += want.dx[i];
    for (std::size_t i = 0; i < dweight_sum.size(); ++i) dweight_sum[i] += want.dweight[i];
    backward(dx.template view<2>(), true, View<T, 1>{nullptr, {0}, 1}, false);
    backward(View<T, 2>{nullptr, {0, s.cols}, s.cols}, false, dweight.template view<1>(), true);
    CHECK(near<T>(doubles(dx), dx_sum, "dx accumulated"));
    CHECK(near<T>(doubles(dweight), dweight_sum, "dweight accumulated"));
  }
}

TEST_CASE("rms_norm backward needs a workspace on Emu and says how large") {
  const Emu device = poisoned_device<Emu>();
  const auto x = random_tensor<float, Emu>({4, 8}, 1, -1, 1, device);
  const auto vector = random_tensor<float, Emu>({8}, 1, -1, 1, device);
  CHECK_THROWS_WITH_AS(
      run_kernel<kernel::RmsNormBackward>(device, x.view<2>(), x.view<2>(), vector.view<1>(), vector.view<1>(),
                                          View<float, 2>{nullptr, {0, 8}, 8}, false, vector.view<1>(), false,
                                          View<std::byte, 1>{nullptr, {0}, 1}),
      "[rms_norm] workspace has 0 bytes, wanted 128, at least 32", Error);
}

TEST_CASE("rms_norm reads aligned rows by whole sectors") {
  const Emu device = poisoned_device<Emu>();
  const auto x = random_tensor<bf16, Emu>({4, 256}, 1, -1, 1, device);
  const auto y = Tensor<bf16, Emu>::empty(device, {4, 256});
  const auto weight = random_tensor<bf16, Emu>({256}, 1, -1, 1, device);
  const emulator::WithSettings settings({.count_requests = true});
  emulator::counters() = {};
  run_kernel<kernel::RmsNormForward>(device, x.view<2>(), weight.view<1>(), eps, y.view<2>(),
                                     View<float, 1>{nullptr, {0}, 1});
  const auto& seen = emulator::counters();
  CHECK(seen.global_load_requests == 4 * 3);  // a row twice and the weight, 512 bytes a request
  CHECK(seen.global_load_sectors == 4 * 3 * 16);
  CHECK(seen.global_store_sectors == 4 * 16);
  CHECK(seen.barriers == 0);
}

TEST_CASE("rms_norm backward writes its partial sums by whole sectors, which lanes share") {
  const Emu device = poisoned_device<Emu>();
  constexpr std::int64_t cols = 264;  // the last lane that has columns has no neighbour
  const auto x = random_tensor<bf16, Emu>({2, cols}, 1, -1, 1, device);
  const auto weight = random_tensor<bf16, Emu>({cols}, 2, -1, 1, device);
  const auto rstd = random_tensor<float, Emu>({2}, 3, 1, 2, device);
  const auto dweight = Tensor<float, Emu>::empty(device, {cols});
  const auto scratch = workspace(device, {2, cols});
  const emulator::WithSettings settings({.count_requests = true});
  emulator::counters() = {};
  run_kernel<kernel::RmsNormBackward>(device, x.view<2>(), x.view<2>(), weight.view<1>(), rstd.view<1>(),
                                      View<bf16, 2>{nullptr, {0, cols}, cols}, false, dweight.view<1>(), false,
                                      scratch.view<1>());
  const auto& seen = emulator::counters();
  CHECK(seen.global_store_bytes == 2 * cols * 4 + cols * 4);  // two partial sums and their total
  CHECK(seen.global_store_sectors == seen.global_store_bytes / 32);
}
