#include "every_device.hpp"

#include <hone/cpu/dropout.hpp>
#include <hone/cpu/fill_random.hpp>
#include <hone/kernels/dropout.cuh>
#include <hone/kernels/fill_random.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

constexpr std::uint64_t seed = 0x1234567890abcdefu, stream = 0xfedcba9876543210u;

/// y (n), every `stride`-th element of a buffer.
template <class T, class D>
View<T, 1> strided(const Tensor<T, D>& buffer, std::int64_t count, std::int64_t stride) {
  return {buffer.data(), {count}, stride};
}

struct Sizes {
  std::int64_t rows, cols;
};

}  // namespace

TEST_CASE_TEMPLATE("random fills are the bits of core/philox.hpp", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>, On<Emu, double>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  constexpr float scale = 0.3f, shift = 0.1f;
  for (const std::int64_t count : {1, 4, 37, 1032})
    for (const std::int64_t stride : {1, 2}) {
      CAPTURE(count);
      CAPTURE(stride);
      std::vector<double> uniform, normal;
      const auto expect = [&](float value) {
        return static_cast<double>(
            element_cast<T>(static_cast<double>(scale) * static_cast<double>(value) + static_cast<double>(shift)));
      };
      for (std::int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<std::uint64_t>(i);
        uniform.push_back(expect(uniform_closed_open(philox_word(seed, stream, at))));
        normal.push_back(expect(philox_normal(seed, stream, at)));
      }
      const auto filled = [&]<class K>(Tag<K>) {
        return in_every_order<D>([&] {
          const auto buffer = Tensor<T, D>::empty(device, {count * stride});
          run_kernel<K>(device, strided(buffer, count, stride), seed, stream, scale, shift);
          std::vector<double> out;
          for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<double>(buffer.data()[i * stride]));
          return out;
        });
      };
      CHECK(filled(Tag<kernel::FillUniform>{}) == uniform);
      CHECK(filled(Tag<kernel::FillNormal>{}) == normal);
    }
}

TEST_CASE_TEMPLATE("dropout draws the words of its elements", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const double p : {0.0, 0.3, 1.0})
    for (const Sizes& s : {Sizes{1, 1}, Sizes{5, 7}, Sizes{3, 24}, Sizes{2, 1040}}) {
      CAPTURE(p);
      CAPTURE(s.cols);
      const auto x = random_tensor<T, D>({s.rows, s.cols}, 1, -2, 2, device);
      auto want = doubles(x);
      for (std::size_t i = 0; i < want.size(); ++i) {
        const double word = philox_word(seed, stream, i);
        want[i] = p < 1 && word >= std::floor(p * 0x1p32) ? want[i] / (1 - p) : 0;
      }
      const auto got = in_every_order<D>([&] {
        const auto y = Tensor<T, D>::empty(device, {s.rows, s.cols});
        run_kernel<kernel::Dropout>(device, x.template in<2>(), p, seed, stream, y.template view<2>(), false);
        return joined(y);
      });
      CHECK(near<T>(got, want, "y"));
      for (std::size_t i = 0; i < want.size(); ++i)
        if (want[i] == 0) CHECK(got[i] == 0);

      const auto sum = random_tensor<T, D>({s.rows, s.cols}, 3, -1, 1, device);
      auto want_sum = doubles(sum);
      for (std::size_t i = 0; i < want.size(); ++i) want_sum[i] += want[i];
      run_kernel<kernel::Dropout>(device, x.template in<2>(), p, seed, stream, sum.template view<2>(), true);
      CHECK(near<T>(doubles(sum), want_sum, "y accumulated"));
    }
}

TEST_CASE_TEMPLATE("dropout numbers elements by the view, not by the memory it lies in", P, On<Cpu, float>,
                   On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  const auto x = random_slice<T, D>(device, 4, 13, 2, 1);
  const auto packed = Tensor<T, D>::from(device, {4, 13}, x.to_vector());
  const auto y = random_slice<T, D>(device, 4, 13, 1, 2), wanted = Tensor<T, D>::empty(device, {4, 13});
  run_kernel<kernel::Dropout>(device, x.template in<2>(), 0.5, seed, stream, y.template view<2>(), false);
  run_kernel<kernel::Dropout>(device, packed.template in<2>(), 0.5, seed, stream, wanted.template view<2>(), false);
  CHECK(doubles(y) == doubles(wanted));
}

TEST_CASE_TEMPLATE("a seed is a number or the place of one, which is looked at when the draw is made", P,
                   On<Cpu, float>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  const auto x = random_tensor<T, D>({5, 24}, 1, 1, 2, device);
  const auto place = Tensor<std::uint64_t, D>::empty(device, {1});
  const auto dropped = [&](DrawSeed from) {
    const auto y = Tensor<T, D>::empty(device, {5, 24});
    run_kernel<kernel::Dropout>(device, x.template in<2>(), 0.5, from, stream, y.template view<2>(), false);
    return doubles(y);
  };
  for (const std::uint64_t number : {seed, seed + 1}) {
    place.copy_from(std::vector<std::uint64_t>{number});
    CHECK(dropped(DrawSeed::found_at(place.data())) == dropped(number));
  }
  CHECK(dropped(seed) != dropped(seed + 1));
}

TEST_CASE("dropout moves whole vectors where it can") {
  const Emu device = poisoned_device<Emu>();
  const auto x = random_tensor<bf16, Emu>({4, 256}, 1, -1, 1, device);
  const auto y = Tensor<bf16, Emu>::empty(device, {4, 256});
  const emulator::WithSettings settings({.count_requests = true});
  emulator::counters() = {};
  run_kernel<kernel::Dropout>(device, x.in<2>(), 0.5, seed, stream, y.view<2>(), false);
  CHECK(emulator::counters().global_load_requests == 4);
  CHECK(emulator::counters().global_load_sectors == 4 * 16);
  CHECK(emulator::counters().global_store_requests == 4);
}
