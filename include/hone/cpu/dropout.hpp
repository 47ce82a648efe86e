// Dropout on the CPU. Whether element e is kept is a function of (seed, offset, e), so the backward pass is the same
// call.
//   y = x * keep / (1 - p),  keep_e = (Philox word of e) >= p * 2^32
#pragma once

#include <hone/core/philox.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>

namespace hone {

namespace kernel {
struct Dropout;
}  // namespace kernel

namespace cpu {

/// Words below this are dropped. 2^32, one past the largest word, drops all.
inline std::uint64_t dropout_threshold(double p) {
  check(p >= 0 && p <= 1, "[dropout] p is {}, wanted a probability", p);
  return static_cast<std::uint64_t>(p * 0x1p32);
}

}  // namespace cpu

/// y (+)= x * keep / (1 - p). `offset` is the Philox stream: one per call of a step keeps the masks independent.
/// Element e is row * columns + column.
template <class T>
void run(Tag<kernel::Dropout>, Cpu& device, In<T, 2> x, double p, std::uint64_t seed, std::uint64_t offset,
         View<T, 2> y, bool accumulate) {
  using S = Accumulator<T>;
  const std::int64_t cols = x.extent(1);
  const std::uint64_t threshold = cpu::dropout_threshold(p);
  const S scale = p < 1 ? static_cast<S>(1 / (1 - p)) : S{0};
  cpu::for_rows(device, x.rows(), cols, [&](std::int64_t row) {
    const T* from = x.row(row);
    T* to = y.row(row);
    PhiloxWords words{};
    for (std::int64_t col = 0; col < cols; ++col) {
      const auto element = static_cast<std::uint64_t>(row * cols + col);
      if (col == 0 || (element & 3u) == 0) words = philox(seed, offset, element >> 2);
      const bool keep = words[static_cast<std::size_t>(element & 3u)] >= threshold;
      const S value = keep ? static_cast<S>(from[col]) * scale : S{0};
      to[col] = static_cast<T>((accumulate ? static_cast<S>(to[col]) : S{0}) + value);
    }
  });
}

}  // namespace hone
