// RMSNorm over every head, then RoPE, in one pass over q or k (Qwen3). Equations: cpu/rms_norm.hpp and cpu/rope.hpp.
#pragma once

#include <hone/cpu/rms_norm.hpp>
#include <hone/cpu/rope.hpp>

#include <array>

namespace hone {

namespace kernel {
struct QkNormRopeForward;
struct QkNormRopeBackward;
}  // namespace kernel

/// The widest head QkNormRope takes: a head of one token is held on the stack between its two halves.
inline constexpr std::int64_t largest_head_dim = 1024;

/// Bytes of scratch that QkNormRopeBackward takes when the weight's gradient is wanted.
inline std::int64_t qk_norm_rope_workspace_bytes(const Target&, std::int64_t rows, std::int64_t head_dim) {
  return cpu::partial_bytes(rows, head_dim);
}

namespace cpu {

inline void check_head_dim(std::int64_t head_dim) {
  check(head_dim > 0 && head_dim % 2 == 0 && head_dim <= largest_head_dim,
        "[qk_norm_rope] head_dim is {}, wanted an even number up to {}", head_dim, largest_head_dim);
}

/// y = rope(norm(x) * weight) for one head; the normalised head is rounded once, after the rotation.
template <class T, class S>
S qk_norm_rope_head(const T* x, const T* weight, S eps, const S* rotation, std::int64_t head_dim, T* y) {
  std::array<S, largest_head_dim> normed;
  S squares = 0;
  for (std::int64_t i = 0; i < head_dim; ++i) squares += static_cast<S>(x[i]) * static_cast<S>(x[i]);
  const S rstd = S{1} / std::sqrt(squares / static_cast<S>(head_dim) + eps);
  for (std::int64_t i = 0; i < head_dim; ++i)
    normed[static_cast<std::size_t>(i)] = static_cast<S>(x[i]) * rstd * static_cast<S>(weight[i]);
  const std::int64_t half = head_dim / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const S a = normed[static_cast<std::size_t>(i)], b = normed[static_cast<std::size_t>(i + half)];
    y[i] = static_cast<T>(a * rotation[i] - b * rotation[i + half]);
    y[i + half] = static_cast<T>(b * rotation[i] + a * rotation[i + half]);
  }
  return rstd;
}

/// One head backwards: turn dy back in S, then RMSNorm's backward; dx and dweight may be null.
template <class T, class S>
void qk_norm_rope_backward_head(const T* dy, const T* x, const T* weight, S rstd, const S* rotation,
                                std::int64_t head_dim, T* dx, bool accumulate, S* dweight) {
  std::array<S, largest_head_dim> turned;  // gradient of norm(x) * weight
  const std::int64_t half = head_dim / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const S a = static_cast<S>(dy[i]), b = static_cast<S>(dy[i + half]);
    turned[static_cast<std::size_t>(i)] = a * rotation[i] + b * rotation[i + half];
    turned[static_cast<std::size_t>(i + half)] = b * rotation[i] - a * rotation[i + half];
  }
  if (dx != nullptr) {
    S dot = 0;
    for (std::int64_t i = 0; i < head_dim; ++i)
      dot += turned[static_cast<std::size_t>(i)] * static_cast<S>(weight[i]) * static_cast<S>(x[i]);
    const S mean = dot * rstd * rstd / static_cast<S>(head_dim);
    for (std::int64_t i = 0; i < head_dim; ++i) {
      const S inner = turned[static_cast<std::size_t>(i)] * static_cast<S>(weight[i]) - static_cast<S>(x[i]) * mean;
      dx[i] = static_cast<T>((accumulate ? static_cast<S>(dx[i]) : S{0}) + rstd * inner);
    }
  }
  if (dweight != nullptr)
    for (std::int64_t i = 0; i < head_dim; ++i)
      dweight[i] += turned[static_cast<std::size_t>(i)] * static_cast<S>(x[i]) * rstd;
}

}  // namespace cpu

/// y = rope(norm(x) * weight) head by head; rstd (N, H) unless absent. H = columns of x / head_dim.
template <class T>
void run(Tag<kernel::QkNormRopeForward>, Cpu& device, In<T, 2> x, In<T, 1> weight, double eps,
         In<Accumulator<T>, 2> rotation, View<T, 2> y, View<Accumulator<T>, 2> rstd) {
  using S = Accumulator<T>;
  const std::int64_t head_dim = weight.extent(0);
  const T* w = cpu::packed_data("qk_norm_rope weight", weight);
  cpu::check_head_dim(head_dim);
  cpu::for_rows(device, x.rows(), x.extent(1), [&](std::int64_t row) {
    for (std::int64_t head = 0; head < x.extent(1) / head_dim; ++head) {
      const std::int64_t at = head * head_dim;
      const S r =
          cpu::qk_norm_rope_head(x.row(row) + at, w, static_cast<S>(eps), rotation.row(row), head_dim, y.row(row) + at);
      if (cpu::wanted(rstd)) rstd(row, head) = r;
    }
  });
}

/// dx and dweight (head_dim), each absent, overwritten or added to.
template <class T, class G>
void run(Tag<kernel::QkNormRopeBackward>, Cpu& device, In<T, 2> dy, In<T, 2> x, In<T, 1> weight,
         In<Accumulator<T>, 2> rstd, In<Accumulator<T>, 2> rotation, View<T, 2> dx, bool accumulate, View<G, 1> dweight,
         bool accumulate_weight, View<std::byte, 1> workspace) {
  using S = Accumulator<T>;
  const std::int64_t rows = x.rows(), cols = x.extent(1), head_dim = weight.extent(0);
  const T* w = cpu::packed_data("qk_norm_rope weight", weight);
  cpu::check_head_dim(head_dim);
  const bool weight_wanted = cpu::wanted(dweight);
  S* partials = nullptr;
  if (weight_wanted)
    partials =
        cpu::workspace_as<S>("qk_norm_rope", workspace, qk_norm_rope_workspace_bytes(device.target(), rows, head_dim));
  const std::int64_t grain = weight_wanted ? cpu::rows_per_partial(rows) : cpu::rows_per_task(cols);
  cpu::for_ranges(device, rows, grain, [&](std::int64_t first, std::int64_t last) {
    S* partial = weight_wanted ? partials + first / grain * head_dim : nullptr;
    if (weight_wanted) std::fill_n(partial, head_dim, S{0});
    for (std::int64_t row = first; row < last; ++row)
      for (std::int64_t head = 0; head < cols / head_dim; ++head) {
        const std::int64_t at = head * head_dim;
        cpu::qk_norm_rope_backward_head(dy.row(row) + at, x.row(row) + at, w, rstd(row, head), rotation.row(row),
                                        head_dim, cpu::wanted(dx) ? dx.row(row) + at : nullptr, accumulate, partial);
      }
  });
  if (weight_wanted) cpu::reduce_partials(device, partials, cpu::partial_count(rows), dweight, accumulate_weight);
}

}  // namespace hone
