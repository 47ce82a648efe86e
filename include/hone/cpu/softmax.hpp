// Softmax over rows on the processor; `Form` is PlainSoftmax or LogSoftmax of ops/softmax.hpp.
#pragma once

#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/strided_view.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace hone {

namespace kernel {
template <class Form>
struct Softmax;
template <class Form>
struct SoftmaxBackward;
}  // namespace kernel

template <class Form, class T>
void run(Tag<kernel::Softmax<Form>>, Cpu& device, In<T, 2> x, View<T, 2> y) {
  using S = Accumulator<T>;
  const std::int64_t width = x.extent(1);
  cpu::for_rows(device, x.rows(), width, [&](std::int64_t row) {
    const T* in = x.row(row);
    T* out = y.row(row);
    S largest = -std::numeric_limits<S>::infinity(), sum = 0;
    for (std::int64_t i = 0; i < width; ++i) largest = std::max(largest, static_cast<S>(in[i]));
    for (std::int64_t i = 0; i < width; ++i) sum += std::exp(static_cast<S>(in[i]) - largest);
    const S z = Form::normaliser(sum);
    for (std::int64_t i = 0; i < width; ++i) out[i] = element_cast<T>(Form::value(static_cast<S>(in[i]), largest, z));
  });
}

template <class Form, class T, class G>
void run(Tag<kernel::SoftmaxBackward<Form>>, Cpu& device, View<const T, 2> dy, In<T, 2> y, View<G, 2> dx,
         bool accumulate) {
  using S = Accumulator<T>;
  const std::int64_t width = y.extent(1);
  cpu::for_rows(device, y.rows(), width, [&](std::int64_t row) {
    const T* from = dy.row(row);
    const T* value = y.row(row);
    G* to = dx.row(row);
    S sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += Form::term(static_cast<S>(from[i]), static_cast<S>(value[i]));
    for (std::int64_t i = 0; i < width; ++i) {
      const S gradient = Form::gradient(static_cast<S>(from[i]), static_cast<S>(value[i]), sum);
      to[i] = element_cast<G>(accumulate ? static_cast<S>(to[i]) + gradient : gradient);
    }
  });
}

}  // namespace hone
