// The kernels of the methods beside LoRA on every device, against fp64.
#include "every_device.hpp"

#include <hone/cpu/activation.hpp>
#include <hone/cpu/columns.hpp>
#include <hone/cpu/join_rows.hpp>
#include <hone/kernels/activation.cuh>
#include <hone/kernels/columns.cuh>
#include <hone/kernels/join_rows.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

TEST_CASE_TEMPLATE("columns", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{19, 64}, Shape{40, 33}}) {
    const std::int64_t rows = shape[0], cols = shape[1];
    const auto x = random_slice<T>(device, rows, cols, 2, 1), other = random_tensor<T, D>(shape, 2, -1, 1, device);
    const auto numbers = random_tensor<float, D>({cols}, 3, -1, 1, device);
    const auto in = doubles(x), two = doubles(other), l = doubles(numbers);
    std::vector<double> scaled, added, products(l.size()), sums(l.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      scaled.push_back(two[i] + in[i] * l[i % l.size()]);
      added.push_back(two[i] + 0.5 * l[i % l.size()]);
      products[i % l.size()] += 2 * in[i] * two[i];
      sums[i % l.size()] += in[i];
    }
    const auto got = in_every_order<D>([&] {
      const auto y = Tensor<T, D>::from(device, shape, other.to_vector());
      run_kernel<kernel::ScaleColumns>(device, x.template in<2>(), numbers.template in<1>(), y.template view<2>(),
                                       true);
      const auto z = Tensor<T, D>::from(device, shape, other.to_vector());
      run_kernel<kernel::AddColumns>(device, numbers.template in<1>(), 0.5, z.template view<2>());
      const auto sum = Tensor<float, D>::empty(device, {cols}), alone = Tensor<float, D>::empty(device, {cols});
      run_kernel<kernel::SumOfProducts>(device, x.template in<2>(), other.template in<2>(), 2.0, sum.template view<1>(),
                                        false);
      run_kernel<kernel::SumOfProducts>(device, x.template in<2>(), View<const T, 2>{}, 1.0, alone.template view<1>(),
                                        false);
      return joined(y, z, sum, alone);
    });
    const std::int64_t all = rows * cols;
    CHECK(near<T>(part(got, 0, all), scaled, "scaled"));
    CHECK(near<T>(part(got, all, all), added, "added"));
    CHECK(near<float>(part(got, 2 * all, cols), products, "products"));
    CHECK(near<float>(part(got, 2 * all + cols, cols), sums, "sums"));
  }
}

TEST_CASE_TEMPLATE("activations", P, On<Cpu, float>, On<Emu, float>) {
  using D = typename P::Device;
  const D device = poisoned_device<D>();
  const auto x = random_slice<float>(device, 9, 31, 1, 1), dy = random_tensor<float, D>({9, 31}, 2, -1, 1, device);
  const auto in = doubles(x), back = doubles(dy);
  for (const Activation kind :
       {Activation::relu, Activation::gelu, Activation::swish, Activation::tanh, Activation::leakyrelu}) {
    std::vector<double> values, slopes;
    for (std::size_t i = 0; i < in.size(); ++i) {
      values.push_back(cpu::activation_value(kind, 3 * in[i] / 3));
      slopes.push_back(2 * back[i] * cpu::activation_slope(kind, in[i]));
    }
    const auto got = in_every_order<D>([&] {
      const auto y = Tensor<float, D>::empty(device, {9, 31}), dx = Tensor<float, D>::empty(device, {9, 31});
      run_kernel<kernel::ActivationForward>(device, kind, x.template in<2>(), y.template view<2>());
      for (const bool accumulate : {false, true})
        run_kernel<kernel::ActivationBackward>(device, kind, dy.template in<2>(), x.template in<2>(),
                                               dx.template view<2>(), accumulate);
      return joined(y, dx);
    });
    CHECK(near<float>(part(got, 0, 279), values, "values"));
    CHECK(near<float>(part(got, 279, 279), slopes, "slopes"));
  }
}

TEST_CASE_TEMPLATE("virtual rows", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  const auto ids = [&](std::int64_t extent) { return Tensor<std::int32_t, D>::empty(device, {extent}); };
  const std::vector<std::int32_t> ends = {0, 3, 4, 9, 9, 9};
  const auto documents = Tensor<std::int32_t, D>::from(device, {6}, ends);
  const std::int64_t p = 2, tokens = 9, rows = 17, cols = 21;  // 15 rows are used, 2 are to spare
  const auto x = random_slice<T>(device, tokens, cols, 3, 1),
             gradient = random_tensor<T, D>({rows, cols}, 2, -1, 1, device);
  const auto table = random_slice<float>(device, p, cols, 2, 3);
  const auto got = in_every_order<D>([&] {
    const auto queries = ids(7), keys = ids(7), source = ids(rows), place = ids(tokens);
    run_kernel<kernel::VirtualLayout>(device, documents.template in<1>(), p, queries.template view<1>(),
                                      keys.template view<1>(), source.template view<1>(), place.template view<1>());
    const auto y = Tensor<T, D>::empty(device, {rows, cols}), back = Tensor<T, D>::empty(device, {tokens, cols});
    run_kernel<kernel::JoinRows>(device, x.template in<2>(), table.template in<2>(), source.template in<1>(),
                                 y.template view<2>(), false);
    run_kernel<kernel::JoinRows>(device, y.template in<2>(), View<const float, 2>{}, place.template in<1>(),
                                 back.template view<2>(), false);
    const auto sum = Tensor<float, D>::empty(device, {p, cols});
    for (const bool accumulate : {false, true})
      run_kernel<kernel::SumVirtualRows>(device, gradient.template in<2>(), queries.template in<1>(),
                                         keys.template in<1>(), sum.template view<2>(), accumulate);
    return joined(queries, keys, source, place, back, sum, y);
  });
  CHECK(part(got, 0, 7) == std::vector<double>{0, 3, 4, 9, 9, 9, 9});
  CHECK(part(got, 7, 7) == std::vector<double>{0, 5, 8, 15, 15, 15, 17});
  CHECK(part(got, 14, 17) == std::vector<double>{-1, -2, 0, 1, 2, -1, -2, 3, -1, -2, 4, 5, 6, 7, 8, -1, -1});
  CHECK(part(got, 31, 9) == std::vector<double>{2, 3, 4, 7, 10, 11, 12, 13, 14});
  CHECK(part(got, 40, tokens * cols) == doubles(x));
  std::vector<double> sums;
  const auto d = doubles(gradient);
  for (std::size_t i = 0; i < 2 * 21; ++i) sums.push_back(2 * (d[i] + d[5 * 21 + i] + d[8 * 21 + i]));
  CHECK(near<float>(part(got, 40 + tokens * cols, p * cols), sums, "sums"));
  std::vector<double> joined_rows;
  for (const int from : {-1, -2, 0, 1, 2, -1, -2, 3, -1, -2, 4, 5, 6, 7, 8, -1, -1})
    for (int col = 0; col < 21; ++col)
      joined_rows.push_back(from >= 0 ? doubles(x)[static_cast<std::size_t>(from * 21 + col)]
                                      : doubles(table)[static_cast<std::size_t>((-1 - from) * 21 + col)]);
  CHECK(near<T>(part(got, 40 + (tokens + p) * cols, rows * cols), joined_rows, "joined"));
}
