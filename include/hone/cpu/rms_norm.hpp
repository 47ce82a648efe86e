// RMSNorm on the CPU, alone or fused with the residual addition before it.
//   y = x * r * w,  r = 1 / sqrt(mean(x^2) + eps)                                   (Zhang and Sennrich, 2019)
//   With g = dy * w and xhat = x * r:  dx = r * (g - xhat * mean(g * xhat)),  dw = sum over rows of dy * xhat
#pragma once

#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/cpu/vector_math.hpp>
#include <hone/tensor/kernel.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct RmsNormForward;
struct AddRmsNormForward;
struct RmsNormBackward;
}  // namespace kernel

/// Bytes of scratch that RmsNormBackward takes when the weight's gradient is wanted.
inline std::int64_t rms_norm_workspace_bytes(const Target&, std::int64_t rows, std::int64_t cols) {
  return cpu::partial_bytes(rows, cols);
}

namespace cpu {

/// y = x * r * weight for one row; returns r.
template <class T, class S>
HONE_ALWAYS_INLINE S rms_norm_row(const T* HONE_RESTRICT x, const T* HONE_RESTRICT weight, S eps, std::int64_t cols,
                                  T* HONE_RESTRICT y) {
  const S rstd = S{1} / std::sqrt(vector_dot<S>(x, x, cols) / static_cast<S>(cols) + eps);
  for (std::int64_t col = 0; col < cols; ++col) y[col] = round_to<T>(widen(x[col]) * rstd * widen(weight[col]));
  return rstd;
}

/// Rows [first, last) of the forward pass.
template <class T>
struct RmsNormRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<const T, 2> x, const T* weight, S eps, View<T, 2> y, View<S, 1> rstd,
                                     std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const S r = rms_norm_row(x.row(row), weight, eps, x.extent(1), y.row(row));
      if (wanted(rstd)) rstd(row) = r;
    }
  }
};

/// out = a + b rounded to T, out being a or b or neither: read whole lanes before any is written.
template <class T, class S>
HONE_ALWAYS_INLINE void add_row(const T* a, const T* b, std::int64_t cols, T* out) {
  std::int64_t col = 0;
  for (; col + lane_count <= cols; col += lane_count) {
    S sum[lane_count];
    for (int l = 0; l < lane_count; ++l) sum[l] = widen(a[col + l]) + widen(b[col + l]);
    for (int l = 0; l < lane_count; ++l) out[col + l] = round_to<T>(sum[l]);
  }
  for (; col < cols; ++col) out[col] = round_to<T>(widen(a[col]) + widen(b[col]));
}

template <class T>
struct AddRmsNormRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<const T, 2> x, View<const T, 2> delta, const T* weight, S eps, View<T, 2> sum,
                                     View<T, 2> y, View<S, 1> rstd, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      add_row<T, S>(x.row(row), delta.row(row), x.extent(1), sum.row(row));
      const S r = rms_norm_row(static_cast<const T*>(sum.row(row)), weight, eps, x.extent(1), y.row(row));
      if (wanted(rstd)) rstd(row) = r;
    }
  }
};

/// One row of the backward pass; dx and dweight (a partial sum) may be null. G is dy's type, T or the type of sums.
template <class G, class T, class S>
HONE_ALWAYS_INLINE void rms_norm_backward_row(const G* HONE_RESTRICT dy, const T* HONE_RESTRICT x,
                                              const T* HONE_RESTRICT weight, S rstd, std::int64_t cols,
                                              T* HONE_RESTRICT dx, bool accumulate, S* HONE_RESTRICT dweight) {
  if (dx != nullptr) {
    Lanes<S> sum(S{0});
    std::int64_t i = 0;
    for (; i + lane_count <= cols; i += lane_count)
      for (int l = 0; l < lane_count; ++l) sum.lane[l] += widen(dy[i + l]) * widen(weight[i + l]) * widen(x[i + l]);
    for (int l = 0; i + l < cols; ++l) sum.lane[l] += widen(dy[i + l]) * widen(weight[i + l]) * widen(x[i + l]);
    const S mean = sum_of_lanes(sum) * rstd * rstd / static_cast<S>(cols);
    if (accumulate)
      for (std::int64_t col = 0; col < cols; ++col)
        dx[col] = round_to<T>(widen(dx[col]) + rstd * (widen(dy[col]) * widen(weight[col]) - widen(x[col]) * mean));
    else
      for (std::int64_t col = 0; col < cols; ++col)
        dx[col] = round_to<T>(rstd * (widen(dy[col]) * widen(weight[col]) - widen(x[col]) * mean));
  }
  if (dweight != nullptr)
    for (std::int64_t col = 0; col < cols; ++col) dweight[col] += widen(dy[col]) * (widen(x[col]) * rstd);
}

template <class T>
struct RmsNormBackwardRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<const T, 2> dy, View<const T, 2> x, const T* weight, View<const S, 1> rstd,
                                     View<T, 2> dx, bool accumulate, S* partial, std::int64_t first,
                                     std::int64_t last) {
    const std::int64_t cols = x.extent(1);
    if (partial != nullptr)
      for (std::int64_t col = 0; col < cols; ++col) partial[col] = S{0};
    for (std::int64_t row = first; row < last; ++row)
      rms_norm_backward_row(dy.row(row), x.row(row), weight, rstd(row), cols, wanted(dx) ? dx.row(row) : nullptr,
                            accumulate, partial);
  }
};

}  // namespace cpu

/// y = norm(x) * weight, and rstd = 1 / rms of every row unless absent.
template <class T>
void run(Tag<kernel::RmsNormForward>, Cpu& device, In<T, 2> x, In<T, 1> weight, double eps, View<T, 2> y,
         View<Accumulator<T>, 1> rstd) {
  using S = Accumulator<T>;
  const T* w = cpu::packed_data("rms_norm weight", weight);
  cpu::for_ranges(device, x.rows(), cpu::rows_per_task(x.extent(1)), [&](std::int64_t first, std::int64_t last) {
    dispatch<cpu::RmsNormRows<T>>(device.target().isa, x, w, static_cast<S>(eps), y, rstd, first, last);
  });
}

/// sum = x + delta, rounded to T; y = norm(sum) * weight reads the rounded sum. `sum` may be `x` or `delta` itself.
template <class T>
void run(Tag<kernel::AddRmsNormForward>, Cpu& device, In<T, 2> x, In<T, 2> delta, In<T, 1> weight, double eps,
         View<T, 2> sum, View<T, 2> y, View<Accumulator<T>, 1> rstd) {
  using S = Accumulator<T>;
  const T* w = cpu::packed_data("rms_norm weight", weight);
  cpu::for_ranges(device, x.rows(), cpu::rows_per_task(x.extent(1)), [&](std::int64_t first, std::int64_t last) {
    dispatch<cpu::AddRmsNormRows<T>>(device.target().isa, x, delta, w, static_cast<S>(eps), sum, y, rstd, first, last);
  });
}

/// dx (N, C) and dweight (C), each absent, overwritten or added to. The weight's gradient goes through fixed partial
/// sums in the workspace.
template <class T, class G>
void run(Tag<kernel::RmsNormBackward>, Cpu& device, In<T, 2> dy, In<T, 2> x, In<T, 1> weight,
         In<Accumulator<T>, 1> rstd, View<T, 2> dx, bool accumulate, View<G, 1> dweight, bool accumulate_weight,
         View<std::byte, 1> workspace) {
  using S = Accumulator<T>;
  const std::int64_t rows = x.rows(), cols = x.extent(1);
  const T* w = cpu::packed_data("rms_norm weight", weight);
  const bool weight_wanted = cpu::wanted(dweight);
  S* partials = nullptr;
  if (weight_wanted)
    partials = cpu::workspace_as<S>("rms_norm", workspace, rms_norm_workspace_bytes(device.target(), rows, cols));
  const std::int64_t grain = weight_wanted ? cpu::rows_per_partial(rows) : cpu::rows_per_task(cols);
  cpu::for_ranges(device, rows, grain, [&](std::int64_t first, std::int64_t last) {
    S* partial = weight_wanted ? partials + first / grain * cols : nullptr;
    dispatch<cpu::RmsNormBackwardRows<T>>(device.target().isa, dy, x, w, rstd, dx, accumulate, partial, first, last);
  });
  if (weight_wanted) cpu::reduce_partials(device, partials, cpu::partial_count(rows), dweight, accumulate_weight);
}

}  // namespace hone
