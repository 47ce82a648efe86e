// Rotary position embedding on the CPU, in Hugging Face's half-split layout ("rotate_half").
//   With h = head_dim / 2, angle a_i = position * inv_freq_i, i < h:                               (Su et al., 2021)
//   y_i = x_i cos a_i - x_{i+h} sin a_i,  y_{i+h} = x_{i+h} cos a_i + x_i sin a_i
// The backward pass is the rotation by -a.
#pragma once

#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct RopeTable;
struct Rope;
}  // namespace kernel

namespace cpu {

/// y = rotated x, one head; y may be x. `rotation` holds head_dim / 2 cosines, then as many sines.
template <class T, class S>
void rope_head(const T* x, const S* rotation, std::int64_t half, bool inverse, T* y) {
  const S sign = inverse ? S{-1} : S{1};
  for (std::int64_t i = 0; i < half; ++i) {
    const S a = static_cast<S>(x[i]), b = static_cast<S>(x[i + half]);
    const S cosine = rotation[i], sine = sign * rotation[i + half];
    y[i] = static_cast<T>(a * cosine - b * sine);
    y[i + half] = static_cast<T>(b * cosine + a * sine);
  }
}

}  // namespace cpu

/// rotation (N, head_dim): cosines in the first half of the columns, sines in the second. The angle is the product of
/// two floats in float, as transformers computes it; cosine and sine are libm's.
template <class S>
void run(Tag<kernel::RopeTable>, Cpu& device, In<std::int32_t, 1> positions, In<float, 1> inv_freq,
         View<S, 2> rotation) {
  const std::int64_t half = rotation.extent(1) / 2;
  cpu::for_rows(device, rotation.rows(), 8 * rotation.extent(1), [&](std::int64_t row) {
    S* out = rotation.row(row);
    for (std::int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(positions(row)) * inv_freq(i);
      out[i] = std::cos(static_cast<S>(angle));
      out[i + half] = std::sin(static_cast<S>(angle));
    }
  });
}

/// Rotates every head of x (N, H * head_dim) in place, backwards when `inverse`.
template <class T>
void run(Tag<kernel::Rope>, Cpu& device, View<T, 2> x, In<Accumulator<T>, 2> rotation, bool inverse) {
  const std::int64_t head_dim = rotation.extent(1);
  cpu::for_rows(device, x.rows(), x.extent(1), [&](std::int64_t row) {
    T* heads = x.row(row);
    for (std::int64_t at = 0; at < x.extent(1); at += head_dim)
      cpu::rope_head<T, Accumulator<T>>(heads + at, rotation.row(row), head_dim / 2, inverse, heads + at);
  });
}

}  // namespace hone
