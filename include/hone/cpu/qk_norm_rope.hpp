// RMSNorm over every head, then RoPE, in one pass over q or k (Qwen3). Equations: cpu/rms_norm.hpp and cpu/rope.hpp.
#pragma once

#include <hone/cpu/rms_norm.hpp>
#include <hone/cpu/rope.hpp>

namespace hone {

namespace kernel {
struct QkNormRopeForward;
struct QkNormRopeBackward;
}  // namespace kernel

/// The widest head QkNormRope takes: the gradient of one head is held on the stack.
inline constexpr std::int64_t largest_head_dim = 1024;

/// Bytes of scratch that QkNormRopeBackward takes when the weight's gradient is wanted.
inline std::int64_t qk_norm_rope_workspace_bytes(const Target&, std::int64_t rows, std::int64_t head_dim) {
  return cpu::partial_bytes(rows, head_dim);
}

namespace cpu {

inline void check_heads(std::int64_t cols, std::int64_t head_dim, std::int64_t rotation) {
  check(head_dim > 0 && head_dim % 2 == 0 && head_dim <= largest_head_dim,
        "[qk_norm_rope] head_dim is {}, wanted an even number up to {}", head_dim, largest_head_dim);
  check(cols % head_dim == 0 && rotation == head_dim,
        "[qk_norm_rope] x has {} columns and the rotation {}, for heads of {}", cols, rotation, head_dim);
}

/// y = rope(norm(x) * weight) for one head, rounded once, after the rotation; returns 1 / rms.
template <class T, class S>
HONE_ALWAYS_INLINE S qk_norm_rope_head(const T* HONE_RESTRICT x, const T* HONE_RESTRICT weight, S eps,
                                       const S* HONE_RESTRICT rotation, std::int64_t head_dim, T* y) {
  const S rstd = S{1} / std::sqrt(vector_dot<S>(x, x, head_dim) / static_cast<S>(head_dim) + eps);
  const std::int64_t half = head_dim / 2;
  T* HONE_RESTRICT lower = y;
  T* HONE_RESTRICT upper = y + half;
  for (std::int64_t i = 0; i < half; ++i) {
    const S a = widen(x[i]) * rstd * widen(weight[i]), b = widen(x[i + half]) * rstd * widen(weight[i + half]);
    lower[i] = round_to<T>(a * rotation[i] - b * rotation[i + half]);
    upper[i] = round_to<T>(b * rotation[i] + a * rotation[i + half]);
  }
  return rstd;
}

/// dy turned back: the gradient of norm(x) * weight.
template <class T, class S>
HONE_ALWAYS_INLINE void turn_back(const T* HONE_RESTRICT dy, const S* HONE_RESTRICT rotation, std::int64_t half,
                                  S* turned) {
  S* HONE_RESTRICT lower = turned;
  S* HONE_RESTRICT upper = turned + half;
  for (std::int64_t i = 0; i < half; ++i) {
    const S a = widen(dy[i]), b = widen(dy[i + half]);
    lower[i] = a * rotation[i] + b * rotation[i + half];
    upper[i] = b * rotation[i] - a * rotation[i + half];
  }
}

template <class T>
struct QkNormRopeRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<const T, 2> x, const T* weight, S eps, View<const S, 2> rotation,
                                     View<T, 2> y, View<S, 2> rstd, std::int64_t first, std::int64_t last) {
    const std::int64_t head_dim = rotation.extent(1);
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t head = 0; head < x.extent(1) / head_dim; ++head) {
        const std::int64_t at = head * head_dim;
        const S r = qk_norm_rope_head(x.row(row) + at, weight, eps, rotation.row(row), head_dim, y.row(row) + at);
        if (wanted(rstd)) rstd(row, head) = r;
      }
  }
};

template <class T>
struct QkNormRopeBackwardRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<const T, 2> dy, View<const T, 2> x, const T* weight, View<const S, 2> rstd,
                                     View<const S, 2> rotation, View<T, 2> dx, bool accumulate, S* partial,
                                     std::int64_t first, std::int64_t last) {
    const std::int64_t head_dim = rotation.extent(1);
    S turned[largest_head_dim];
    if (partial != nullptr)
      for (std::int64_t i = 0; i < head_dim; ++i) partial[i] = S{0};
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t head = 0; head < x.extent(1) / head_dim; ++head) {
        const std::int64_t at = head * head_dim;
        turn_back(dy.row(row) + at, rotation.row(row), head_dim / 2, turned);
        rms_norm_backward_row(turned, x.row(row) + at, weight, rstd(row, head), head_dim,
                              wanted(dx) ? dx.row(row) + at : nullptr, accumulate, partial);
      }
  }
};

}  // namespace cpu

/// y = rope(norm(x) * weight) head by head; rstd (N, H) unless absent. H = columns of x / head_dim.
template <class T>
void run(Tag<kernel::QkNormRopeForward>, Cpu& device, In<T, 2> x, In<T, 1> weight, double eps,
         In<Accumulator<T>, 2> rotation, View<T, 2> y, View<Accumulator<T>, 2> rstd) {
  using S = Accumulator<T>;
  const T* w = cpu::packed_data("qk_norm_rope weight", weight);
  cpu::check_heads(x.extent(1), weight.extent(0), rotation.extent(1));
  cpu::for_ranges(device, x.rows(), cpu::rows_per_task(x.extent(1)), [&](std::int64_t first, std::int64_t last) {
    dispatch<cpu::QkNormRopeRows<T>>(device.target().isa, x, w, static_cast<S>(eps), rotation, y, rstd, first, last);
  });
}

/// dx (N, H * head_dim) and dweight (head_dim), each absent, overwritten or added to.
template <class T, class G>
void run(Tag<kernel::QkNormRopeBackward>, Cpu& device, In<T, 2> dy, In<T, 2> x, In<T, 1> weight,
         In<Accumulator<T>, 2> rstd, In<Accumulator<T>, 2> rotation, View<T, 2> dx, bool accumulate, View<G, 1> dweight,
         bool accumulate_weight, View<std::byte, 1> workspace) {
  using S = Accumulator<T>;
  const std::int64_t rows = x.rows(), cols = x.extent(1), head_dim = weight.extent(0);
  const T* w = cpu::packed_data("qk_norm_rope weight", weight);
  cpu::check_heads(cols, head_dim, rotation.extent(1));
  const bool weight_wanted = cpu::wanted(dweight);
  S* partials = nullptr;
  if (weight_wanted)
    partials =
        cpu::workspace_as<S>("qk_norm_rope", workspace, qk_norm_rope_workspace_bytes(device.target(), rows, head_dim));
  const std::int64_t grain = weight_wanted ? cpu::rows_per_partial(rows) : cpu::rows_per_task(cols);
  cpu::for_ranges(device, rows, grain, [&](std::int64_t first, std::int64_t last) {
    S* partial = weight_wanted ? partials + first / grain * head_dim : nullptr;
    dispatch<cpu::QkNormRopeBackwardRows<T>>(device.target().isa, dy, x, w, rstd, rotation, dx, accumulate, partial,
                                             first, last);
  });
  if (weight_wanted) cpu::reduce_partials(device, partials, cpu::partial_count(rows), dweight, accumulate_weight);
}

}  // namespace hone
