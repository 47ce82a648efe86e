// Reduce on the processor: y (+)= finish(reduce over the axes y does not have of f(x...)), over any strides.
#pragma once

#include <hone/cpu/nest.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/strided_view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <tuple>
#include <utility>

namespace hone {

namespace kernel {
template <class Reducer, class F>
struct Reduce;
}  // namespace kernel

namespace cpu {

/// One reduction over one pair of nests. How the work is cut depends on the extents alone.
template <class R, class F, class To, class... From>
class Reduction {
 public:
  static constexpr std::size_t operands = sizeof...(From);
  using S = ComputeType<std::conditional_t<is_floating<To>, To, bool>, From...>;
  using State = typename R::template State<S>;
  using Pointers = std::tuple<const From*...>;

  Reduction(const R& reducer, const F& f, StridedView<To> y, bool accumulate, StridedView<const From>... x)
      : reducer_(reducer), f_(f), y_(y.data), x_(x.data...), accumulate_(accumulate) {
    for (std::size_t axis = 0; axis < max_rank; ++axis) {
      if (y.strides[axis] != 0 || y.extents[axis] == 1)
        kept_.push(y.extents[axis], {y.strides[axis], x.strides[axis]...});
      else
        reduced_.push(y.extents[axis], {x.strides[axis]...});
    }
  }

  void run(Cpu& device) const {
    const std::int64_t outputs = kept_.elements(), length = reduced_.elements();
    if (outputs == 0) return;
    if (outputs < 16 && length >= 4 * task_grain) return few_long(device, outputs, length);
    const bool columns = kept_.inner_strides()[1] == 1 && outputs > 1;
    const std::int64_t wanted = std::max<std::int64_t>(1, task_grain / std::max<std::int64_t>(1, length));
    for_ranges(device, outputs, columns ? round_up(wanted, block) : wanted, [&](std::int64_t begin, std::int64_t end) {
      kept_.walk(begin, end, [&](const auto& at, std::int64_t count) {
        if (columns)
          for (std::int64_t first = 0; first < count; first += block)
            column_block(moved(at, first), std::min(block, count - first), length);
        else
          for (std::int64_t i = 0; i < count; ++i) one_row(moved(at, i), length);
      });
    });
  }

 private:
  using KeptOffsets = typename Nest<1 + operands>::Offsets;
  static constexpr std::int64_t block = 32;  // outputs side by side
  static constexpr std::size_t lanes = 8;    // partial results of one row, so that additions do not wait for each other
  static constexpr std::int64_t most_parts = 64;  // of one long row

  KeptOffsets moved(KeptOffsets at, std::int64_t steps) const {
    const KeptOffsets strides = kept_.inner_strides();
    for (std::size_t n = 0; n < at.size(); ++n) at[n] += steps * strides[n];
    return at;
  }

  template <class Offsets, std::size_t... I>
  Pointers pointers(const Pointers& from, const Offsets& at, std::size_t skip, std::index_sequence<I...>) const {
    return {std::get<I>(from) + at[I + skip]...};
  }
  template <std::size_t... I, class Offsets>
  S value(const Pointers& x, const Offsets& strides, std::size_t skip, std::int64_t i,
          std::index_sequence<I...>) const {
    return f_(static_cast<S>(std::get<I>(x)[i * strides[I + skip]])...);
  }

  void store(std::int64_t offset, const State& state) const {
    const auto result = reducer_.finish(state);
    if constexpr (is_floating<To>) {
      if (accumulate_) {
        y_[offset] = element_cast<To>(static_cast<S>(y_[offset]) + result);
        return;
      }
    }
    y_[offset] = element_cast<To>(result);
  }

  /// Points [begin, end) of the reduced nest, for the output at `at`.
  State part(const KeptOffsets& at, std::int64_t begin, std::int64_t end) const {
    constexpr std::index_sequence_for<From...> each;
    const Pointers base = pointers(x_, at, 1, each);
    const auto strides = reduced_.inner_strides();
    std::array<State, lanes> states{};
    std::int64_t index = begin;
    reduced_.walk(begin, end, [&](const auto& offset, std::int64_t count) {
      const Pointers x = pointers(base, offset, 0, each);
      std::int64_t i = 0;
      for (; i + static_cast<std::int64_t>(lanes) <= count; i += static_cast<std::int64_t>(lanes))
        for (std::size_t lane = 0; lane < lanes; ++lane) {
          const std::int64_t j = i + static_cast<std::int64_t>(lane);
          states[lane].add(value(x, strides, 0, j, each), index + j);
        }
      for (std::size_t lane = 0; i < count; ++i, ++lane) states[lane].add(value(x, strides, 0, i, each), index + i);
      index += count;
    });
    for (std::size_t lane = 1; lane < lanes; ++lane) states[0].merge(states[lane]);
    return states[0];
  }

  void one_row(const KeptOffsets& at, std::int64_t length) const { store(at[0], part(at, 0, length)); }

  /// `count` outputs whose inputs lie side by side: rows are read in the order of memory.
  void column_block(const KeptOffsets& at, std::int64_t count, std::int64_t length) const {
    constexpr std::index_sequence_for<From...> each;
    const Pointers base = pointers(x_, at, 1, each);
    const auto down = reduced_.inner_strides();
    const KeptOffsets across = kept_.inner_strides();
    std::array<State, static_cast<std::size_t>(block)> states{};
    std::int64_t index = 0;
    reduced_.walk(0, length, [&](auto offset, std::int64_t rows) {
      for (std::int64_t row = 0; row < rows; ++row, ++index) {
        const Pointers x = pointers(base, offset, 0, each);
        for (std::int64_t j = 0; j < count; ++j)
          states[static_cast<std::size_t>(j)].add(value(x, across, 1, j, each), index);
        for (std::size_t n = 0; n < operands; ++n) offset[n] += down[n];
      }
    });
    for (std::int64_t j = 0; j < count; ++j) store(at[0] + j * across[0], states[static_cast<std::size_t>(j)]);
  }

  /// Few outputs over long rows: the rows themselves are cut, and their parts merged in order.
  void few_long(Cpu& device, std::int64_t outputs, std::int64_t length) const {
    const std::int64_t parts = std::min(most_parts, ceil_div(length, task_grain / 2)), each = ceil_div(length, parts);
    kept_.walk(0, outputs, [&](const auto& at, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) {
        std::array<State, static_cast<std::size_t>(most_parts)> states{};
        device.pool().run(parts, [&](std::int64_t task, int) {
          states[static_cast<std::size_t>(task)] =
              part(moved(at, i), std::min(length, task * each), std::min(length, (task + 1) * each));
        });
        for (std::size_t k = 1; k < static_cast<std::size_t>(parts); ++k) states[0].merge(states[k]);
        store(at[0] + i * kept_.inner_strides()[0], states[0]);
      }
    });
  }

  R reducer_;
  F f_;
  To* y_;
  Pointers x_;
  bool accumulate_;
  Nest<1 + operands> kept_;
  Nest<operands> reduced_;
};

}  // namespace cpu

/// `y` has the extents of the x's, with stride 0 along the axes that are reduced. `R::State<S>` has add(value, index
/// along the reduced axes) and merge(state).
template <class R, class F, class To, class... From>
void run(Tag<kernel::Reduce<R, F>>, Cpu& device, const R& reducer, const F& f, StridedView<To> y, bool accumulate,
         StridedView<const From>... x) {
  cpu::Reduction<R, F, To, From...>(reducer, f, y, accumulate, x...).run(device);
}

}  // namespace hone
