#include "every_device.hpp"

#include <hone/cpu/cross_entropy.hpp>
#include <hone/kernels/cross_entropy.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Sizes {
  std::int64_t rows, classes;
};
constexpr Sizes every_size[] = {{1, 1}, {1, 8}, {3, 7}, {4, 129}, {2, 2100}};

}  // namespace

TEST_CASE_TEMPLATE("cross_entropy: losses, and gradients in place of the logits", D, Cpu, Emu) {
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    for (const double high : {3.0, 300.0}) {  // the second overflows without the shift by the maximum
      CAPTURE(s.classes);
      CAPTURE(high);
      const double scale = 0.125;
      std::vector<std::int32_t> targets;
      for (std::int64_t row = 0; row < s.rows; ++row)
        targets.push_back(row % 3 == 1 ? -100 : static_cast<std::int32_t>(row * 5 % s.classes));
      const auto target_tensor = Tensor<std::int32_t, D>::from(device, {s.rows}, targets);
      const auto fresh = [&] { return random_tensor<float, D>({s.rows, s.classes}, 1, -high, high, device); };
      const auto z = doubles(fresh());
      std::vector<double> want_losses, want_gradient(z.size(), 0.0);
      for (std::int64_t row = 0; row < s.rows; ++row) {
        const double* here = z.data() + row * s.classes;
        const double largest = *std::max_element(here, here + s.classes);
        double sum = 0;
        for (std::int64_t c = 0; c < s.classes; ++c) sum += std::exp(here[c] - largest);
        const std::int32_t target = targets[static_cast<std::size_t>(row)];
        want_losses.push_back(target < 0 ? 0 : largest + std::log(sum) - here[target]);
        for (std::int64_t c = 0; target >= 0 && c < s.classes; ++c)
          want_gradient[static_cast<std::size_t>(row * s.classes + c)] =
              scale * (std::exp(here[c] - largest) / sum - (c == target ? 1 : 0));
      }
      for (const bool gradient : {false, true}) {
        const auto got = in_every_order<D>([&] {
          const auto logits = fresh();
          const auto losses = Tensor<float, D>::empty(device, {s.rows});
          run_kernel<kernel::CrossEntropy>(device, logits.template view<2>(), target_tensor.template view<1>(),
                                           losses.template view<1>(), gradient, scale);
          return joined(losses, logits);
        });
        const double slack = 1e-5 * (1 + high);  // an fp32 logit of this size is known to no more
        CHECK(close(part(got, 0, s.rows), want_losses, {s.rows}, slack, 1e-5, "losses"));
        if (gradient)
          CHECK(close(part(got, s.rows, s.rows * s.classes), want_gradient, {s.rows, s.classes}, scale * slack, 1e-4,
                      "gradient"));
        else
          CHECK(part(got, s.rows, s.rows * s.classes) == z);
      }
    }
  }
}

TEST_CASE("a target outside the classes is an error on Emu") {
  const Emu device = poisoned_device<Emu>();
  const auto logits = random_tensor<float, Emu>({1, 8}, 1, -1, 1, device);
  const auto losses = Tensor<float, Emu>::empty(device, {1});
  const auto targets = Tensor<std::int32_t, Emu>::from(device, {1}, std::vector<std::int32_t>{8});
  CHECK_THROWS_AS(
      run_kernel<kernel::CrossEntropy>(device, logits.view<2>(), targets.view<1>(), losses.view<1>(), true, 1.0),
      Error);
}
