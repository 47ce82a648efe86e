// Rotary position embedding on the CPU, in Hugging Face's half-split layout ("rotate_half").
//   With h = head_dim / 2, angle a_i = position * inv_freq_i, i < h:                               (Su et al., 2021)
//   y_i = x_i cos a_i - x_{i+h} sin a_i,  y_{i+h} = x_{i+h} cos a_i + x_i sin a_i
// The backward pass is the rotation by -a.
#pragma once

#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/cpu/vector_math.hpp>
#include <hone/tensor/kernel.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct RopeTable;
struct Rope;
}  // namespace kernel

namespace cpu {

/// Turns one head in place. `rotation` holds `half` cosines, then as many sines.
template <class T, class S>
HONE_ALWAYS_INLINE void rope_head(T* head, const S* HONE_RESTRICT rotation, std::int64_t half, S sign) {
  T* HONE_RESTRICT lower = head;
  T* HONE_RESTRICT upper = head + half;
  for (std::int64_t i = 0; i < half; ++i) {
    const S a = widen(lower[i]), b = widen(upper[i]), sine = sign * rotation[i + half];
    lower[i] = round_to<T>(a * rotation[i] - b * sine);
    upper[i] = round_to<T>(b * rotation[i] + a * sine);
  }
}

template <class T>
struct RopeRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<T, 2> x, View<const S, 2> rotation, S sign, std::int64_t first,
                                     std::int64_t last) {
    const std::int64_t head_dim = rotation.extent(1);
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t at = 0; at < x.extent(1); at += head_dim)
        rope_head(x.row(row) + at, rotation.row(row), head_dim / 2, sign);
  }
};

}  // namespace cpu

/// rotation (N, head_dim): cosines in the first half of the columns, sines in the second. The angle is the product of
/// two floats in float, as transformers computes it; cosine and sine are libm's.
template <class S>
void run(Tag<kernel::RopeTable>, Cpu& device, In<std::int32_t, 1> positions, In<float, 1> inv_freq,
         View<S, 2> rotation) {
  const std::int64_t half = rotation.extent(1) / 2;
  cpu::for_ranges(device, rotation.rows(), cpu::rows_per_task(8 * half), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions(row)) * inv_freq(i);
        rotation(row, i) = std::cos(static_cast<S>(angle));
        rotation(row, i + half) = std::sin(static_cast<S>(angle));
      }
  });
}

/// Rotates every head of x (N, H * head_dim) in place, backwards when `inverse`.
template <class T>
void run(Tag<kernel::Rope>, Cpu& device, View<T, 2> x, In<Accumulator<T>, 2> rotation, bool inverse) {
  using S = Accumulator<T>;
  const S sign = inverse ? S{-1} : S{1};
  cpu::for_ranges(device, x.rows(), cpu::rows_per_task(x.extent(1)), [&](std::int64_t first, std::int64_t last) {
    dispatch<cpu::RopeRows<T>>(device.target().isa, x, rotation, sign, first, last);
  });
}

}  // namespace hone
