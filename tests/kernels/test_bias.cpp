#include "every_device.hpp"

#include <hone/cpu/bias.hpp>
#include <hone/kernels/bias.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

TEST_CASE_TEMPLATE("add_bias and sum_of_rows", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{19, 64}, Shape{40, 33}}) {
    const std::int64_t rows = shape[0], cols = shape[1];
    const auto x = random_tensor<T, D>(shape, 1, -1, 1, device);
    const auto bias = random_tensor<T, D>({cols}, 2, -1, 1, device);
    const auto in = doubles(x), b = doubles(bias);
    std::vector<double> want_sum(b.size(), 0.0), want_y = in;
    for (std::size_t i = 0; i < in.size(); ++i) {
      want_sum[i % b.size()] += in[i];
      want_y[i] += b[i % b.size()];
    }
    const auto got = in_every_order<D>([&] {
      const auto sum = Tensor<float, D>::empty(device, {cols});
      run_kernel<kernel::SumOfRows>(device, View<const T, 2>(x.template view<2>()), sum.template view<1>(), false);
      const auto y = Tensor<T, D>::from(device, shape, x.to_vector());
      run_kernel<kernel::AddBias>(device, bias.template view<1>(), y.template view<2>());
      return joined(sum, y);
    });
    CHECK(near<float>(part(got, 0, cols), want_sum, "sum"));
    CHECK(near<T>(part(got, cols, rows * cols), want_y, "y"));

    for (std::size_t i = 0; i < b.size(); ++i) want_sum[i] += b[i];
    run_kernel<kernel::SumOfRows>(device, View<const T, 2>(x.template view<2>()), bias.template view<1>(), true);
    CHECK(near<T>(doubles(bias), want_sum, "sum accumulated"));
  }
}
