// Gather and its transpose, ScatterAdd, on the processor.
#pragma once

#include <hone/cpu/nest.hpp>
#include <hone/tensor/kernel.hpp>

#include <algorithm>
#include <cstdint>

namespace hone {

namespace kernel {
struct Gather;
struct ScatterAdd;
}  // namespace kernel

namespace cpu {

/// Indices for (o, j, i); an axis of extent 1 repeats.
struct IndexReader {
  explicit IndexReader(View<const std::int32_t, 3> ids) : data(ids.data) {
    if (ids.extent(0) != 1) outer = ids.stride;
    if (ids.extent(1) != 1) middle = ids.extent(2);
    if (ids.extent(2) != 1) inner = 1;
  }
  std::int64_t operator()(std::int64_t o, std::int64_t j, std::int64_t i) const {
    return data[o * outer + j * middle + i * inner];
  }

  const std::int32_t* data;
  std::int64_t outer = 0, middle = 0, inner = 0;
};

}  // namespace cpu

/// y (o, m, i) = x (o, n, i) at ids (o or 1, m, i or 1) of the middle axis; an index outside [0, n) is an Error.
template <class T>
void run(Tag<kernel::Gather>, Cpu& device, In<T, 3> x, View<const std::int32_t, 3> ids, View<T, 3> y) {
  const cpu::IndexReader index(ids);
  const std::int64_t n = x.extent(1), m = y.extent(1), width = y.extent(2);
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, cpu::task_grain / std::max<std::int64_t>(1, width));
  cpu::for_ranges(device, y.extent(0) * m, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t o = row / m, j = row % m;
      for (std::int64_t i = 0; i < width; ++i) {
        const std::int64_t at = index(o, j, i);
        check(at >= 0 && at < n, "[gather] index {} at position {} is outside [0, {})", at, j, n);
        y.data[row * width + i] = x.data[(o * n + at) * width + i];
      }
    }
  });
}

/// dx (o, n, i) (+)= dy (o, m, i) at ids. Tasks share no element of dx, and each adds in the order of m.
template <class T, class G>
void run(Tag<kernel::ScatterAdd>, Cpu& device, View<const T, 3> dy, View<const std::int32_t, 3> ids, View<G, 3> dx,
         bool accumulate) {
  using S = Accumulator<T>;
  constexpr std::int64_t piece = 256;  // columns of one task
  const cpu::IndexReader index(ids);
  const std::int64_t n = dx.extent(1), m = dy.extent(1), width = dx.extent(2);
  const std::int64_t pieces = ceil_div(width, piece), work = (n + m) * std::min(piece, width);
  cpu::for_ranges(
      device, dx.extent(0) * pieces, std::max<std::int64_t>(1, cpu::task_grain / std::max<std::int64_t>(1, work)),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t unit = begin; unit < end; ++unit) {
          const std::int64_t o = unit / pieces, first = unit % pieces * piece, last = std::min(width, first + piece);
          G* sums = dx.data + o * n * width;
          for (std::int64_t j = 0; j < n && !accumulate; ++j)
            std::fill(sums + j * width + first, sums + j * width + last, G(0));
          for (std::int64_t j = 0; j < m; ++j)
            for (std::int64_t i = first; i < last; ++i) {
              G& sum = sums[index(o, j, i) * width + i];
              sum = static_cast<G>(static_cast<S>(sum) + static_cast<S>(dy.data[(o * m + j) * width + i]));
            }
        }
      });
}

}  // namespace hone
