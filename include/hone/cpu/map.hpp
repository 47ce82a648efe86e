// Map on the processor: y = f(x...) or y += f(x...), element by element, over any strides.
#pragma once

#include <hone/cpu/nest.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/strided_view.hpp>

#include <array>
#include <cstddef>
#include <tuple>
#include <utility>

namespace hone {

namespace kernel {
template <class F>
struct Map;
}  // namespace kernel

namespace cpu {

/// One run of `count` elements. Packed operands have a loop of their own, which the compiler can vectorise.
template <class F, class To, class... From, std::size_t... I>
void map_run(const F& f, bool accumulate, std::int64_t count,
             const std::array<std::int64_t, 1 + sizeof...(From)>& strides, To* y, const std::tuple<const From*...>& x,
             std::index_sequence<I...>) {
  using S = ComputeType<To, From...>;
  bool packed = strides[0] == 1;
  ((packed = packed && strides[I + 1] == 1), ...);
  if constexpr (is_floating<To>) {
    if (accumulate) {
      const auto add = [](To& sum, S value) { sum = element_cast<To>(static_cast<S>(sum) + value); };
      if (packed)
        for (std::int64_t i = 0; i < count; ++i) add(y[i], f(static_cast<S>(std::get<I>(x)[i])...));
      else
        for (std::int64_t i = 0; i < count; ++i)
          add(y[i * strides[0]], f(static_cast<S>(std::get<I>(x)[i * strides[I + 1]])...));
      return;
    }
  }
  if (packed)
    for (std::int64_t i = 0; i < count; ++i) y[i] = element_cast<To>(f(static_cast<S>(std::get<I>(x)[i])...));
  else
    for (std::int64_t i = 0; i < count; ++i)
      y[i * strides[0]] = element_cast<To>(f(static_cast<S>(std::get<I>(x)[i * strides[I + 1]])...));
}

}  // namespace cpu

/// All views have the same extents; `accumulate` is for floating outputs.
template <class F, class To, class... From>
void run(Tag<kernel::Map<F>>, Cpu& device, const F& f, StridedView<To> y, bool accumulate,
         StridedView<const From>... x) {
  cpu::Nest<1 + sizeof...(From)> nest;
  for (std::size_t axis = 0; axis < max_rank; ++axis) nest.push(y.extents[axis], {y.strides[axis], x.strides[axis]...});
  cpu::for_ranges(device, nest.elements(), cpu::task_grain, [&](std::int64_t begin, std::int64_t end) {
    nest.walk(begin, end, [&](const auto& at, std::int64_t count) {
      [&]<std::size_t... I>(std::index_sequence<I...> each) {
        cpu::map_run(f, accumulate, count, nest.inner_strides(), y.data + at[0],
                     std::tuple<const From*...>{x.data + at[I + 1]...}, each);
      }
      (std::index_sequence_for<From...>{});
    });
  });
}

}  // namespace hone
