// DoRA's kernels on the processor; ops/dora.hpp has the equations.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>

#include <algorithm>
#include <cmath>

namespace hone {

namespace kernel {
struct RowSquares;
struct DoraNorms;
struct DoraForward;
struct DoraMagnitudes;
struct DoraBackward;
struct DoraScaleRows;
}  // namespace kernel

/// m / n; 1 where the row is zero, so that it stays what it is.
template <class S>
constexpr S dora_factor(S magnitude, S norm) {
  return norm == S{0} ? S{1} : magnitude / norm;
}

namespace cpu {

/// Sum of squares in eight lanes that are added in their order: equal bits on every path through the kernels.
template <class S, class T>
S sum_of_squares(const T* row, std::int64_t count) {
  S lanes[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (std::int64_t lane = 0; lane < 8; ++lane) {
      const S value = static_cast<S>(row[i + lane]);
      lanes[lane] += value * value;
    }
  for (; i < count; ++i) lanes[i % 8] += static_cast<S>(row[i]) * static_cast<S>(row[i]);
  S sum = 0;
  for (const S lane : lanes) sum += lane;
  return sum;
}

}  // namespace cpu

/// squares (out) = the sum of squares of every row of w (out, in).
template <class T, class S>
void run(Tag<kernel::RowSquares>, Cpu& device, View<const T, 2> w, View<S, 1> squares) {
  cpu::for_ranges(device, w.rows(), cpu::rows_per_task(w.extent(1)), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row)
      squares.data[row] = cpu::sum_of_squares<S>(w.row(row), w.extent(1));
  });
}

/// norms (out) = sqrt(squares + sum over r of b (2 s wa + s^2 baa)); b, wa and baa are (out, r).
template <class S>
void run(Tag<kernel::DoraNorms>, Cpu& device, In<S, 1> squares, In<S, 2> b, In<S, 2> wa, In<S, 2> baa, double scale,
         View<S, 1> norms) {
  const S s = static_cast<S>(scale), r = static_cast<S>(2) * s;
  cpu::for_ranges(device, b.rows(), cpu::rows_per_task(3 * b.extent(1)), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      S change = 0;
      for (std::int64_t i = 0; i < b.extent(1); ++i) change += b(row, i) * (r * wa(row, i) + s * s * baa(row, i));
      norms.data[row] = std::sqrt(std::max(squares.data[row] + change, S{0}));
    }
  });
}

/// u = y - bias (where u has rows), y += (m / n - 1) (y - bias); bias may have no elements.
template <class T, class S>
void run(Tag<kernel::DoraForward>, Cpu& device, View<const S, 1> magnitudes, View<const S, 1> norms, In<T, 1> bias,
         View<T, 2> y, View<T, 2> u) {
  cpu::for_ranges(device, y.rows(), cpu::rows_per_task(y.extent(1)), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t i = 0; i < y.extent(1); ++i) {
        const S plain = static_cast<S>(y(row, i));
        const S without = bias.extent(0) == 0 ? plain : plain - static_cast<S>(bias.data[i]);
        if (u.rows() != 0) u(row, i) = static_cast<T>(without);
        y(row, i) = static_cast<T>(plain + (dora_factor(magnitudes.data[i], norms.data[i]) - S{1}) * without);
      }
  });
}

/// dm (+)= (sum over rows of dy u) / n. Columns are cut into fixed pieces, rows are added in order.
template <class T, class S>
void run(Tag<kernel::DoraMagnitudes>, Cpu& device, View<const T, 2> dy, In<T, 2> u, View<const S, 1> norms,
         View<S, 1> dm, bool accumulate) {
  constexpr std::int64_t piece = 64;
  device.pool().run(ceil_div(dy.extent(1), piece), [&](std::int64_t task, int) {
    const std::int64_t begin = task * piece, width = std::min(piece, dy.extent(1) - begin);
    S totals[piece] = {};
    for (std::int64_t row = 0; row < dy.rows(); ++row)
      for (std::int64_t i = 0; i < width; ++i)
        totals[i] += static_cast<S>(dy(row, begin + i)) * static_cast<S>(u(row, begin + i));
    for (std::int64_t i = 0; i < width; ++i) {
      const S norm = norms.data[begin + i];
      const S value = norm == S{0} ? S{0} : totals[i] / norm;
      dm.data[begin + i] = accumulate ? dm.data[begin + i] + value : value;
    }
  });
}

/// dy *= m / n, column by column.
template <class T, class S>
void run(Tag<kernel::DoraBackward>, Cpu& device, View<const S, 1> magnitudes, View<const S, 1> norms, View<T, 2> dy) {
  cpu::for_ranges(device, dy.rows(), cpu::rows_per_task(dy.extent(1)), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t i = 0; i < dy.extent(1); ++i)
        dy(row, i) = static_cast<T>(static_cast<S>(dy(row, i)) * dora_factor(magnitudes.data[i], norms.data[i]));
  });
}

/// Row i of w times m_i / n_i.
template <class T, class S>
void run(Tag<kernel::DoraScaleRows>, Cpu& device, View<const S, 1> magnitudes, View<const S, 1> norms, View<T, 2> w) {
  cpu::for_ranges(device, w.rows(), cpu::rows_per_task(w.extent(1)), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t i = 0; i < w.extent(1); ++i)
        w(row, i) = static_cast<T>(static_cast<S>(w(row, i)) * dora_factor(magnitudes.data[row], norms.data[row]));
  });
}

}  // namespace hone
