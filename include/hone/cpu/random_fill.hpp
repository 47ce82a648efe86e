// Filling with random numbers on the processor. Element i always takes draw i of its stream.
#pragma once

#include <hone/core/philox.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>

namespace hone {

namespace kernel {
struct NormalFill;
struct UniformFill;
}  // namespace kernel

namespace cpu {
/// y[i] = draw(i), in pieces of fixed size.
template <class T, class Draw>
void fill_with(Cpu& device, const View<T, 1>& y, const Draw& draw) {
  for_ranges(device, y.extent(0), 4096, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) y(i) = static_cast<T>(draw(static_cast<std::uint64_t>(i)));
  });
}
}  // namespace cpu

template <class T>
void run(Tag<kernel::NormalFill>, Cpu& device, View<T, 1> y, double standard_deviation, std::uint64_t seed,
         std::uint64_t stream) {
  const auto factor = static_cast<float>(standard_deviation);
  cpu::fill_with(device, y, [=](std::uint64_t i) { return factor * philox_normal(seed, stream, i); });
}

template <class T>
void run(Tag<kernel::UniformFill>, Cpu& device, View<T, 1> y, double bound, std::uint64_t seed, std::uint64_t stream) {
  const auto factor = static_cast<float>(bound);
  cpu::fill_with(device, y, [=](std::uint64_t i) {
    return factor * (2.0f * uniform_closed_open(philox_word(seed, stream, i)) - 1.0f);
  });
}

}  // namespace hone
