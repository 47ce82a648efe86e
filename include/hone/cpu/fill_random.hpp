// Random fills on the processor: element i is a function of (seed, stream, i) alone.
#pragma once

#include <hone/core/philox.hpp>
#include <hone/cpu/nest.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/strided_view.hpp>

namespace hone {

namespace kernel {
struct FillUniform;
struct FillNormal;
}  // namespace kernel

namespace cpu {

/// y_i = scale * value(words of i's block, i) + shift. The product of two floats is exact in double, so the result does
/// not depend on whether the compiler fuses it with the sum.
template <class T, class Value>
void fill_random(Cpu& device, View<T, 1> y, std::uint64_t seed, std::uint64_t stream, float scale, float shift,
                 const Value& value) {
  static_assert(task_grain % 4 == 0);
  for_ranges(device, y.extent(0), task_grain, [&](std::int64_t begin, std::int64_t end) {
    PhiloxWords words{};
    for (std::int64_t i = begin; i < end; ++i) {
      const auto lane = static_cast<std::size_t>(i & 3);
      if (lane == 0) words = philox(seed, stream, static_cast<std::uint64_t>(i) >> 2);
      y(i) = element_cast<T>(static_cast<double>(scale) * static_cast<double>(value(words, lane)) +
                             static_cast<double>(shift));
    }
  });
}

}  // namespace cpu

template <class T>
void run(Tag<kernel::FillUniform>, Cpu& device, View<T, 1> y, std::uint64_t seed, std::uint64_t stream, float scale,
         float shift) {
  cpu::fill_random(device, y, seed, stream, scale, shift,
                   [](const PhiloxWords& words, std::size_t lane) { return uniform_closed_open(words[lane]); });
}

/// As philox_normal numbers them.
template <class T>
void run(Tag<kernel::FillNormal>, Cpu& device, View<T, 1> y, std::uint64_t seed, std::uint64_t stream, float scale,
         float shift) {
  cpu::fill_random(device, y, seed, stream, scale, shift, [](const PhiloxWords& words, std::size_t lane) {
    const std::size_t pair = lane & 2u;
    return normal_pair(words[pair], words[pair + 1])[lane & 1u];
  });
}

}  // namespace hone
