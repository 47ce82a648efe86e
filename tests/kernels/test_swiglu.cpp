#include "every_device.hpp"

#include <hone/cpu/swiglu.hpp>
#include <hone/kernels/swiglu.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Sizes {
  std::int64_t rows, cols;
};
constexpr Sizes every_size[] = {{1, 1}, {1, 4}, {3, 7}, {5, 64}, {9, 100}, {2, 1100}};

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE_TEMPLATE("swiglu forward", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    CAPTURE(s.cols);
    const auto gate_up = random_tensor<T, D>({s.rows, 2 * s.cols}, 1, -6, 6, device);
    const auto in = doubles(gate_up);
    std::vector<double> want;
    for (std::int64_t i = 0; i < s.rows * s.cols; ++i) {
      const auto at = static_cast<std::size_t>(i / s.cols * 2 * s.cols + i % s.cols);
      want.push_back(in[at] * sigmoid_of(in[at]) * in[at + static_cast<std::size_t>(s.cols)]);
    }
    const auto got = in_every_order<D>([&] {
      const auto y = Tensor<T, D>::empty(device, {s.rows, s.cols});
      run_kernel<kernel::SwigluForward>(device, gate_up.template view<2>(), y.template view<2>());
      return joined(y);
    });
    CHECK(near<T>(got, want, "y"));
  }
}

TEST_CASE_TEMPLATE("swiglu backward: overwrite, accumulate, in place", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    CAPTURE(s.cols);
    const auto gate_up = random_tensor<T, D>({s.rows, 2 * s.cols}, 1, -6, 6, device);
    const auto dy = random_tensor<T, D>({s.rows, s.cols}, 2, -1, 1, device);
    const auto in = doubles(gate_up), d = doubles(dy);
    std::vector<double> want(in.size());
    for (std::size_t i = 0; i < d.size(); ++i) {
      const auto cols = static_cast<std::size_t>(s.cols), at = i / cols * 2 * cols + i % cols;
      const double g = in[at], u = in[at + cols], sig = sigmoid_of(g);
      want[at] = d[i] * u * sig * (1 + g * (1 - sig));
      want[at + cols] = d[i] * g * sig;
    }
    const auto got = in_every_order<D>([&] {
      const auto out = Tensor<T, D>::empty(device, {s.rows, 2 * s.cols});
      run_kernel<kernel::SwigluBackward>(device, dy.template view<2>(), gate_up.template view<2>(),
                                         out.template view<2>(), false);
      return joined(out);
    });
    CHECK(near<T>(got, want, "dgate_up"));

    const auto sum = random_tensor<T, D>({s.rows, 2 * s.cols}, 3, -1, 1, device);
    auto want_sum = doubles(sum);
    for (std::size_t i = 0; i < want.size(); ++i) want_sum[i] += want[i];
    run_kernel<kernel::SwigluBackward>(device, dy.template view<2>(), gate_up.template view<2>(),
                                       sum.template view<2>(), true);
    CHECK(near<T>(doubles(sum), want_sum, "dgate_up accumulated"));

    run_kernel<kernel::SwigluBackward>(device, dy.template view<2>(), gate_up.template view<2>(),
                                       gate_up.template view<2>(), false);
    CHECK(doubles(gate_up) == got);
  }
}
