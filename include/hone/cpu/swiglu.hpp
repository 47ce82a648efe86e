// SwiGLU on the CPU: the gated half of a Llama MLP, gate and up being the two halves of one fused projection.
//   y = silu(g) * u,  silu(g) = g s,  s = 1 / (1 + exp(-g))                                        (Shazeer, 2020)
//   dg = dy * u * s * (1 + g (1 - s)),  du = dy * g * s
#pragma once

#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/cpu/vector_math.hpp>
#include <hone/tensor/kernel.hpp>

namespace hone {

namespace kernel {
struct SwigluForward;
struct SwigluBackward;
}  // namespace kernel

namespace cpu {

/// Rows [first, last) of the forward pass.
template <class T>
struct SwigluRows {
  HONE_ALWAYS_INLINE static void run(View<const T, 2> gate_up, View<T, 2> y, std::int64_t first, std::int64_t last) {
    using S = Accumulator<T>;
    const std::int64_t cols = y.extent(1);
    for (std::int64_t row = first; row < last; ++row) {
      const T* HONE_RESTRICT gate = gate_up.row(row);
      const T* HONE_RESTRICT up = gate_up.row(row) + cols;
      T* HONE_RESTRICT out = y.row(row);
      for (std::int64_t col = 0; col < cols; ++col) {
        const S g = widen(gate[col]);
        out[col] = round_to<T>(g / (S{1} + vector_exp(-g)) * widen(up[col]));
      }
    }
  }
};

/// out = or += values, rounded.
template <bool Accumulate, class T, class S>
HONE_ALWAYS_INLINE void put(const S* HONE_RESTRICT values, std::int64_t count, T* HONE_RESTRICT out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = round_to<T>(Accumulate ? widen(out[i]) + values[i] : values[i]);
}

/// Rows [first, last) of the backward pass, by pieces held in local arrays: with two outputs and three inputs in one
/// loop g++ cannot rule out that they overlap, and takes its scalar version.
template <class T, bool Accumulate>
struct SwigluBackwardRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<const T, 2> dy, View<const T, 2> gate_up, View<T, 2> dgate_up,
                                     std::int64_t first, std::int64_t last) {
    constexpr std::int64_t piece = 128;
    const std::int64_t cols = dy.extent(1);
    S dgate[piece], dup[piece];
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t at = 0; at < cols; at += piece) {
        const std::int64_t count = cols - at < piece ? cols - at : piece;
        const T* gate = gate_up.row(row) + at;
        gradients(dy.row(row) + at, gate, gate + cols, count, dgate, dup);
        put<Accumulate>(dgate, count, dgate_up.row(row) + at);
        put<Accumulate>(dup, count, dgate_up.row(row) + cols + at);
      }
  }

 private:
  HONE_ALWAYS_INLINE static void gradients(const T* dy, const T* gate, const T* up, std::int64_t count,
                                           S* HONE_RESTRICT dgate, S* HONE_RESTRICT dup) {
    for (std::int64_t i = 0; i < count; ++i) {
      const S d = widen(dy[i]), g = widen(gate[i]);
      const S s = S{1} / (S{1} + vector_exp(-g));
      dgate[i] = d * widen(up[i]) * s * (S{1} + g * (S{1} - s));
      dup[i] = d * g * s;
    }
  }
};

}  // namespace cpu

/// y (N, F) = silu(gate) * up, with gate = gate_up[:, :F] and up = gate_up[:, F:].
template <class T>
void run(Tag<kernel::SwigluForward>, Cpu& device, In<T, 2> gate_up, View<T, 2> y) {
  cpu::for_ranges(device, y.rows(), cpu::rows_per_task(y.extent(1)), [&](std::int64_t first, std::int64_t last) {
    dispatch<cpu::SwigluRows<T>>(device.target().isa, gate_up, y, first, last);
  });
}

/// dgate_up (N, 2F), overwritten or added to.
template <class T>
void run(Tag<kernel::SwigluBackward>, Cpu& device, In<T, 2> dy, In<T, 2> gate_up, View<T, 2> dgate_up,
         bool accumulate) {
  const Isa isa = device.target().isa;
  cpu::for_ranges(device, dy.rows(), cpu::rows_per_task(dy.extent(1)), [&](std::int64_t first, std::int64_t last) {
    if (accumulate)
      dispatch<cpu::SwigluBackwardRows<T, true>>(isa, dy, gate_up, dgate_up, first, last);
    else
      dispatch<cpu::SwigluBackwardRows<T, false>>(isa, dy, gate_up, dgate_up, first, last);
  });
}

}  // namespace hone
