// Random fills on the processor: element i is a function of (seed, stream, i) alone.
#pragma once

#include <hone/core/philox.hpp>
#include <hone/cpu/nest.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/strided_view.hpp>

#include <algorithm>
#include <array>

namespace hone {

namespace kernel {
struct FillUniform;
struct FillNormal;
}  // namespace kernel

namespace cpu {

/// y_i = scale * v_i + shift, where values(words of block b) gives v_4b .. v_4b+3. The product of two floats is exact
/// in double, so the result does not depend on whether the compiler fuses it with the sum.
template <class T, class Values>
void fill_random(Cpu& device, View<T, 1> y, std::uint64_t seed, std::uint64_t stream, float scale, float shift,
                 const Values& values) {
  static_assert(task_grain % 4 == 0);
  for_ranges(device, y.extent(0), task_grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += 4) {
      const std::array<float, 4> block = values(philox(seed, stream, static_cast<std::uint64_t>(first) >> 2));
      for (std::int64_t i = first; i < std::min(end, first + 4); ++i)
        y(i) = element_cast<T>(static_cast<double>(scale) *
                                   static_cast<double>(block[static_cast<std::size_t>(i - first)]) +
                               static_cast<double>(shift));
    }
  });
}

}  // namespace cpu

template <class T>
void run(Tag<kernel::FillUniform>, Cpu& device, View<T, 1> y, std::uint64_t seed, std::uint64_t stream, float scale,
         float shift) {
  cpu::fill_random(device, y, seed, stream, scale, shift, [](const PhiloxWords& words) {
    return std::array{uniform_closed_open(words[0]), uniform_closed_open(words[1]), uniform_closed_open(words[2]),
                      uniform_closed_open(words[3])};
  });
}

/// As philox_normal numbers them.
template <class T>
void run(Tag<kernel::FillNormal>, Cpu& device, View<T, 1> y, std::uint64_t seed, std::uint64_t stream, float scale,
         float shift) {
  cpu::fill_random(device, y, seed, stream, scale, shift, [](const PhiloxWords& words) {
    const auto [a, b] = normal_pair(words[0], words[1]);
    const auto [c, d] = normal_pair(words[2], words[3]);
    return std::array{a, b, c, d};
  });
}

}  // namespace hone
