// One number a column, on the processor: scaling by it, adding it, and what flows back to it. The numbers of an adapter
// are float where the tensor is bf16.
#pragma once

#include <hone/cpu/fill_copy.hpp>

namespace hone {

namespace kernel {
struct ScaleColumns;
struct AddColumns;
struct SumOfProducts;
}  // namespace kernel

/// y (N, C) = x l, or += x l, with l (C).
template <class T, class A>
void run(Tag<kernel::ScaleColumns>, Cpu& device, In<T, 2> x, View<const A, 1> l, View<T, 2> y, bool accumulate) {
  using S = Accumulator<T>;
  cpu::for_row_pieces(device, y, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    const T* source = x.row(row);
    T* sink = y.row(row);
    for (std::int64_t i = begin; i < end; ++i) {
      const S value = static_cast<S>(source[i]) * static_cast<S>(l.data[i]);
      sink[i] = static_cast<T>(accumulate ? static_cast<S>(sink[i]) + value : value);
    }
  });
}

/// y (N, C) += scale b, with b (C).
template <class T, class A>
void run(Tag<kernel::AddColumns>, Cpu& device, View<const A, 1> b, double scale, View<T, 2> y) {
  using S = Accumulator<T>;
  cpu::for_row_pieces(device, y, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    T* sink = y.row(row);
    for (std::int64_t i = begin; i < end; ++i)
      sink[i] = static_cast<T>(static_cast<S>(sink[i]) + static_cast<S>(scale) * static_cast<S>(b.data[i]));
  });
}

/// sum (C) (+)= scale times the sum over rows of a b; of a alone where b has no rows. Columns are cut into fixed pieces
/// and rows are added in order: equal bits for any number of threads.
template <class T, class A>
void run(Tag<kernel::SumOfProducts>, Cpu& device, View<const T, 2> a, In<T, 2> b, double scale, View<A, 1> sum,
         bool accumulate) {
  using S = Accumulator<T>;
  constexpr std::int64_t piece = 64;
  device.pool().run(ceil_div(a.extent(1), piece), [&](std::int64_t task, int) {
    const std::int64_t begin = task * piece, width = std::min(piece, a.extent(1) - begin);
    S totals[piece] = {};
    for (std::int64_t row = 0; row < a.rows(); ++row)
      for (std::int64_t i = 0; i < width; ++i)
        totals[i] += static_cast<S>(a(row, begin + i)) * (b.rows() > 0 ? static_cast<S>(b(row, begin + i)) : S{1});
    for (std::int64_t i = 0; i < width; ++i) {
      const S total = static_cast<S>(scale) * totals[i];
      A& out = sum.data[begin + i];
      out = static_cast<A>(accumulate ? static_cast<S>(out) + total : total);
    }
  });
}

}  // namespace hone
