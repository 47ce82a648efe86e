// Fill, and copy with conversion, on the processor.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/tensor/kernel.hpp>

#include <algorithm>
#include <type_traits>

namespace hone {

namespace kernel {
struct Fill;
struct Copy;
}  // namespace kernel

namespace cpu {

/// Calls body(row, begin, end) over pieces of rows, so that one long row spreads over the workers as well as many
/// short.
template <class T, class Body>
void for_row_pieces(Cpu& device, const View<T, 2>& view, const Body& body) {
  constexpr std::int64_t piece = 1 << 14;
  const std::int64_t columns = view.extent(1), rows = view.rows();
  if (rows == 0 || columns == 0) return;
  const std::int64_t pieces = ceil_div(columns, piece);                           // per row
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, piece / columns);  // short rows share a task
  device.pool().run(ceil_div(rows, rows_per_task) * pieces, [&](std::int64_t task, int) {
    const std::int64_t first = task / pieces * rows_per_task, begin = task % pieces * piece;
    for (std::int64_t row = first; row < std::min(rows, first + rows_per_task); ++row)
      body(row, begin, std::min(columns, begin + piece));
  });
}

}  // namespace cpu

template <class T>
void run(Tag<kernel::Fill>, Cpu& device, View<T, 2> y, std::type_identity_t<T> value) {
  cpu::for_row_pieces(device, y, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    std::fill(y.row(row) + begin, y.row(row) + end, value);
  });
}

template <class From, class To>
void run(Tag<kernel::Copy>, Cpu& device, View<const From, 2> x, View<To, 2> y, bool accumulate) {
  using Sum = std::conditional_t<sizeof(From) == 8 || sizeof(To) == 8, double, float>;
  cpu::for_row_pieces(device, y, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    const From* source = x.row(row);
    To* sink = y.row(row);
    if constexpr (is_floating<From> && is_floating<To>) {
      if (accumulate) {
        for (std::int64_t i = begin; i < end; ++i)
          sink[i] = static_cast<To>(static_cast<Sum>(sink[i]) + static_cast<Sum>(source[i]));
        return;
      }
    }
    for (std::int64_t i = begin; i < end; ++i) sink[i] = static_cast<To>(source[i]);
  });
}

}  // namespace hone
