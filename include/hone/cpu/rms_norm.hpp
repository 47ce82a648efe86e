// RMSNorm on the CPU, alone or fused with the residual addition before it.
//   y = x * r * w,  r = 1 / sqrt(mean(x^2) + eps)                                   (Zhang and Sennrich, 2019)
//   With g = dy * w and xhat = x * r:  dx = r * (g - xhat * mean(g * xhat)),  dw = sum over rows of dy * xhat
#pragma once

#include <hone/cpu/partition.hpp>
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

template <class T, class S>
S rms_norm_row(const T* x, const T* weight, S eps, std::int64_t cols, T* y) {
  S squares = 0;
  for (std::int64_t col = 0; col < cols; ++col) squares += static_cast<S>(x[col]) * static_cast<S>(x[col]);
  const S rstd = S{1} / std::sqrt(squares / static_cast<S>(cols) + eps);
  for (std::int64_t col = 0; col < cols; ++col)
    y[col] = static_cast<T>(static_cast<S>(x[col]) * rstd * static_cast<S>(weight[col]));
  return rstd;
}

/// One row of the backward pass; dx and dweight (a partial sum in S) may be null.
template <class T, class S>
void rms_norm_backward_row(const T* dy, const T* x, const T* weight, S rstd, std::int64_t cols, T* dx, bool accumulate,
                           S* dweight) {
  if (dx != nullptr) {
    S dot = 0;
    for (std::int64_t col = 0; col < cols; ++col)
      dot += static_cast<S>(dy[col]) * static_cast<S>(weight[col]) * static_cast<S>(x[col]);
    const S mean = dot * rstd * rstd / static_cast<S>(cols);
    for (std::int64_t col = 0; col < cols; ++col) {
      const S inner = static_cast<S>(dy[col]) * static_cast<S>(weight[col]) - static_cast<S>(x[col]) * mean;
      dx[col] = static_cast<T>((accumulate ? static_cast<S>(dx[col]) : S{0}) + rstd * inner);
    }
  }
  if (dweight != nullptr)
    for (std::int64_t col = 0; col < cols; ++col)
      dweight[col] += static_cast<S>(dy[col]) * static_cast<S>(x[col]) * rstd;
}

}  // namespace cpu

/// y = norm(x) * weight, and rstd = 1 / rms of every row unless absent.
template <class T>
void run(Tag<kernel::RmsNormForward>, Cpu& device, In<T, 2> x, In<T, 1> weight, double eps, View<T, 2> y,
         View<Accumulator<T>, 1> rstd) {
  const std::int64_t cols = x.extent(1);
  const T* w = cpu::packed_data("rms_norm weight", weight);
  cpu::for_rows(device, x.rows(), cols, [&](std::int64_t row) {
    const auto r = cpu::rms_norm_row(x.row(row), w, static_cast<Accumulator<T>>(eps), cols, y.row(row));
    if (cpu::wanted(rstd)) rstd(row) = r;
  });
}

/// sum = x + delta, rounded to T; y = norm(sum) * weight reads the rounded sum. `sum` may be `x` or `delta` itself.
template <class T>
void run(Tag<kernel::AddRmsNormForward>, Cpu& device, In<T, 2> x, In<T, 2> delta, In<T, 1> weight, double eps,
         View<T, 2> sum, View<T, 2> y, View<Accumulator<T>, 1> rstd) {
  using S = Accumulator<T>;
  const std::int64_t cols = x.extent(1);
  const T* w = cpu::packed_data("rms_norm weight", weight);
  cpu::for_rows(device, x.rows(), cols, [&](std::int64_t row) {
    const T* a = x.row(row);
    const T* b = delta.row(row);
    T* out = sum.row(row);
    for (std::int64_t col = 0; col < cols; ++col)
      out[col] = static_cast<T>(static_cast<S>(a[col]) + static_cast<S>(b[col]));
    const S r = cpu::rms_norm_row(static_cast<const T*>(out), w, static_cast<S>(eps), cols, y.row(row));
    if (cpu::wanted(rstd)) rstd(row) = r;
  });
}

/// dx (C columns) and dweight, each absent, overwritten or added to. The weight's gradient goes through fixed partial
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
    if (weight_wanted) std::fill_n(partial, cols, S{0});
    for (std::int64_t row = first; row < last; ++row)
      cpu::rms_norm_backward_row(dy.row(row), x.row(row), w, rstd(row), cols, cpu::wanted(dx) ? dx.row(row) : nullptr,
                                 accumulate, partial);
  });
  if (weight_wanted) cpu::reduce_partials(device, partials, cpu::partial_count(rows), dweight, accumulate_weight);
}

}  // namespace hone
