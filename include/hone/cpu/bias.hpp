// Bias addition and its gradient on the processor.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/tensor/kernel.hpp>

#include <algorithm>

namespace hone {

namespace kernel {
struct AddBias;
struct SumOfRows;
}  // namespace kernel

template <class T>
void run(Tag<kernel::AddBias>, Cpu& device, In<T, 1> bias, View<T, 2> y) {
  using S = Accumulator<T>;
  constexpr std::int64_t rows_per_task = 16;
  device.pool().run(ceil_div(y.rows(), rows_per_task), [&](std::int64_t task, int) {
    const std::int64_t end = std::min(y.rows(), (task + 1) * rows_per_task);
    for (std::int64_t row = task * rows_per_task; row < end; ++row)
      for (std::int64_t i = 0; i < y.extent(1); ++i)
        y(row, i) = static_cast<T>(static_cast<S>(y(row, i)) + static_cast<S>(bias.data[i]));
  });
}

/// sum (C) (+)= sum over rows of x (N, C). Columns are cut into fixed pieces, rows are added in order: equal bits for
/// any number of threads.
template <class T, class G>
void run(Tag<kernel::SumOfRows>, Cpu& device, View<const T, 2> x, View<G, 1> sum, bool accumulate) {
  using S = Accumulator<T>;
  constexpr std::int64_t piece = 64;
  device.pool().run(ceil_div(x.extent(1), piece), [&](std::int64_t task, int) {
    const std::int64_t begin = task * piece, width = std::min(piece, x.extent(1) - begin);
    S totals[piece] = {};
    for (std::int64_t row = 0; row < x.rows(); ++row)
      for (std::int64_t i = 0; i < width; ++i) totals[i] += static_cast<S>(x(row, begin + i));
    for (std::int64_t i = 0; i < width; ++i) {
      G& out = sum.data[begin + i];
      out = static_cast<G>(accumulate ? static_cast<S>(out) + totals[i] : totals[i]);
    }
  });
}

}  // namespace hone
