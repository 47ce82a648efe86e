#include <hone/autograd/fill_copy.hpp>
#include <hone/cpu/fill_copy.hpp>

#include <doctest/doctest.h>

namespace hone {
namespace kernel {
struct CountTwice {
  static double flops(const View<float, 2>& y, int) { return 3.0 * static_cast<double>(y.elements()); }
};
}  // namespace kernel
}  // namespace hone

using hone::Tensor;

TEST_CASE("copies of a device are the same device; others are others") {
  const hone::Cpu a({.threads = 2}), b = a, c({.threads = 1});
  CHECK(&a.memory() == &b.memory());
  CHECK(&a.memory() != &c.memory());
  CHECK(a.pool().threads() == 2);
  CHECK(a.target().threads == 2);
  CHECK(a.target().isa == hone::best_isa());
  CHECK(hone::Cpu({.threads = 1, .isa = hone::Isa::portable}).target().isa == hone::Isa::portable);
  CHECK(&hone::Cpu{}.memory() == &hone::Cpu{}.memory());
}

TEST_CASE("Meta stands for the target it is given and counts what kernels would move") {
  const hone::Meta device({.kind = hone::DeviceKind::cuda, .alignment = 256, .sm = 90});
  CHECK(device.target().sm == 90);
  const auto x = Tensor<float, hone::Meta>::empty(device, {10, 10}),
             y = Tensor<float, hone::Meta>::empty(device, {10, 10});
  CHECK(device.memory().ledger().device().now == 1024);
  hone::copy_into(x, y);
  CHECK(device.work().kernels == 1);
  CHECK(device.work().bytes_read == 400);
  CHECK(device.work().bytes_written == 400);
  hone::run_kernel<hone::kernel::CountTwice>(device, y.view<2>(), 1);
  CHECK(device.work().flops == 300.0);
}

TEST_CASE("fill and copy: rows wide and short, converted, accumulated, on one thread or three") {
  for (const int threads : {1, 3}) {
    const hone::Cpu device({.threads = threads});
    for (const hone::Shape& shape :
         {hone::Shape{3, 40000}, hone::Shape{40000, 3}, hone::Shape{1, 1}, hone::Shape{0, 5}, hone::Shape{7}}) {
      const auto x = Tensor<float>::empty(device, shape);
      const auto y = Tensor<double>::empty(device, shape);
      hone::fill(x, 1.5f);
      hone::copy_into(x, y);
      hone::copy_into(x, y, true);
      bool right = true;
      for (const double value : y.to_vector()) right = right && value == 3.0;
      CHECK(right);
    }
  }
  const auto x = Tensor<float>::from({2, 3}, {1, 2, 3, 4, 5, 6}),
             y = Tensor<float>::from({2, 4}, {0, 0, 0, 0, 0, 0, 0, 0});
  hone::copy_into(x.columns(1, 2), y.columns(0, 2), true);
  CHECK(y.to_vector() == std::vector<float>{2, 3, 0, 0, 5, 6, 0, 0});
  CHECK_THROWS_WITH(hone::copy_into(x, y), "[copy] shape (2, 3) cannot be copied into shape (2, 4)");
}
