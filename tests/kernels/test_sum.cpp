#include "every_device.hpp"

#include <hone/cpu/sum.hpp>
#include <hone/kernels/sum.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

TEST_CASE_TEMPLATE("sum in double", D, Cpu, Emu) {
  const D device = poisoned_device<D>();
  for (const std::int64_t count : {0, 1, 255, 256, 1000}) {
    const auto x = random_tensor<float, D>({count}, 1, -1, 1, device);
    double want = 0;
    for (const double value : doubles(x)) want += value;
    const auto got = in_every_order<D>([&] {
      const auto total = Tensor<double, D>::empty(device, {1});
      run_kernel<kernel::SumInOrder>(device, View<const float, 1>(x.template view<1>()), total.template view<1>());
      return joined(total);
    });
    CHECK(close(got, {want}, {1}, 1e-12, 1e-12));
  }
}
