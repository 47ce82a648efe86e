// DoRA: magnitudes of a weight's rows beside LoRA (Liu et al., 2024); ops/dora.hpp has the equations.
//   n_i = sqrt(||W_i||^2 + b_i . (2 s W_i A^T + s^2 b_i A A^T))        y += (m / n - 1) (y - bias)
//   dm = (sum over rows of dy u) / n        dy *= m / n
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>

namespace hone {

namespace kernel {
struct RowSquares;
struct DoraNorms;
struct DoraForward;
struct DoraMagnitudes;
struct DoraBackward;
struct DoraScaleRows;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int dora_threads = 256;
inline constexpr int dora_row_groups = 8;

/// m / n; 1 where the row is zero.
__device__ inline float dora_ratio(float magnitude, float norm) { return norm == 0.0f ? 1.0f : magnitude / norm; }

/// One warp a row: its lanes add every 32nd square, then each other's sums.
template <class T>
__global__ void __launch_bounds__(dora_threads)
    row_squares_kernel(Rows<const T> w, std::int64_t rows, std::int64_t cols, float* squares) {
  const std::int64_t row = (std::int64_t{blockIdx.x} * dora_threads + threadIdx.x) / warp_lanes;
  if (row >= rows) return;
  float sum = 0;
  for (std::int64_t col = static_cast<int>(threadIdx.x) % warp_lanes; col < cols; col += warp_lanes) {
    const float value = to_float(load(w.row(row) + col));
    sum += value * value;
  }
  sum = warp_sum(sum);
  if (static_cast<int>(threadIdx.x) % warp_lanes == 0) store(squares + row, sum);
}

/// One thread a row; rank r is small.
template <class S>
__global__ void __launch_bounds__(dora_threads)
    dora_norms_kernel(const S* squares, Rows<const S> b, Rows<const S> wa, Rows<const S> baa, std::int64_t rows,
                      std::int64_t r, float scale, S* norms) {
  const std::int64_t row = std::int64_t{blockIdx.x} * dora_threads + threadIdx.x;
  if (row >= rows) return;
  float change = 0;
  for (std::int64_t i = 0; i < r; ++i)
    change += load(b.row(row) + i) * (2.0f * scale * load(wa.row(row) + i) + scale * scale * load(baa.row(row) + i));
  store(norms + row, sqrtf(fmaxf(load(squares + row) + change, 0.0f)));
}

/// One thread for V neighbouring columns. u is written where `keep` says so; bias is null where there is none.
template <class T, int V>
__global__ void __launch_bounds__(dora_threads)
    dora_forward_kernel(const float* magnitudes, const float* norms, const T* bias, Rows<T> y, Rows<T> u, bool keep,
                        std::int64_t rows, std::int64_t vectors) {
  const std::int64_t item = std::int64_t{blockIdx.x} * dora_threads + threadIdx.x;
  if (item >= rows * vectors) return;
  const std::int64_t row = item / vectors, col = item % vectors * V;
  auto plain = load<V>(y.row(row) + col);
  Vec<T, V> without{};
  for (int i = 0; i < V; ++i) {
    const float value = to_float(plain[i]);
    const float less = bias == nullptr ? value : value - to_float(load(bias + col + i));
    without[i] = from_float<T>(less);
    plain[i] = from_float<T>(value + (dora_ratio(load(magnitudes + col + i), load(norms + col + i)) - 1.0f) * less);
  }
  if (keep) store(u.row(row) + col, without);
  store(y.row(row) + col, plain);
}

struct DoraShared {
  float of_group[dora_row_groups][warp_lanes];
};

/// 32 columns a block; thread row g adds rows g, g + 8, ..., then the eight sums are added in their order.
template <class T>
__global__ void __launch_bounds__(dora_row_groups* warp_lanes)
    dora_magnitudes_kernel(Rows<const T> dy, Rows<const T> u, const float* norms, float* dm, std::int64_t rows,
                           std::int64_t cols, bool accumulate) {
  auto& shared = shared_memory<DoraShared>();
  const std::int64_t col = std::int64_t{blockIdx.x} * warp_lanes + threadIdx.x;
  float sum = 0;
  if (col < cols)
    for (std::int64_t row = threadIdx.y; row < rows; row += dora_row_groups)
      sum += to_float(load(dy.row(row) + col)) * to_float(load(u.row(row) + col));
  shared.of_group[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
  float total = 0;
  for (int group = 0; group < dora_row_groups; ++group) total += shared.of_group[group][threadIdx.x];
  const float norm = load(norms + col);
  total = norm == 0.0f ? 0.0f : total / norm;
  store(dm + col, accumulate ? load(dm + col) + total : total);
}

/// x *= m / n, which belong to its columns, or to its rows.
template <class T, int V, bool ByRow>
__global__ void __launch_bounds__(dora_threads)
    dora_scale_kernel(const float* magnitudes, const float* norms, Rows<T> x, std::int64_t rows, std::int64_t vectors) {
  const std::int64_t item = std::int64_t{blockIdx.x} * dora_threads + threadIdx.x;
  if (item >= rows * vectors) return;
  const std::int64_t row = item / vectors, col = item % vectors * V;
  auto values = load<V>(x.row(row) + col);
  for (int i = 0; i < V; ++i) {
    const std::int64_t at = ByRow ? row : col + i;
    values[i] = from_float<T>(to_float(values[i]) * dora_ratio(load(magnitudes + at), load(norms + at)));
  }
  store(x.row(row) + col, values);
}

template <bool ByRow, class T>
void launch_dora_scale(KernelDevice& device, const char* name, View<const float, 1> magnitudes,
                       View<const float, 1> norms, View<T, 2> x) {
  const std::int64_t rows = x.rows(), cols = x.extent(1);
  check(magnitudes.packed() && norms.packed() && magnitudes.extent(0) == (ByRow ? rows : cols) &&
            norms.extent(0) == magnitudes.extent(0),
        "[dora] {} magnitudes and {} norms do not fit ({}, {})", magnitudes.extent(0), norms.extent(0), rows, cols);
  if (rows * cols == 0) return;
  const bool vectors = allows_vectors(x);
  const std::int64_t per_row = cols / (vectors ? vector_width<T> : 1);
  constexpr auto wide = &dora_scale_kernel<T, vector_width<T>, ByRow>;
  constexpr auto scalar = &dora_scale_kernel<T, 1, ByRow>;
  launch(device, name, shape_for(rows * per_row, dora_threads), vectors ? wide : scalar, magnitudes.data, norms.data,
         rows_of(x), rows, per_row);
}

/// squares (out) = the sum of squares of every row of w (out, in).
template <class T>
void run(Tag<kernel::RowSquares>, KernelDevice& device, View<const T, 2> w, View<float, 1> squares) {
  check(squares.packed() && squares.extent(0) == w.rows(), "[row_squares] {} sums for {} rows", squares.extent(0),
        w.rows());
  if (w.rows() == 0) return;
  launch(device, "row_squares", shape_for(w.rows() * warp_lanes, dora_threads), &row_squares_kernel<T>, rows_of(w),
         w.rows(), w.extent(1), squares.data);
}

/// norms (out) from squares (out) and b, wa, baa (out, r).
template <class S>
void run(Tag<kernel::DoraNorms>, KernelDevice& device, In<S, 1> squares, In<S, 2> b, In<S, 2> wa, In<S, 2> baa,
         double scale, View<S, 1> norms) {
  const std::int64_t rows = b.rows();
  check(squares.packed() && norms.packed() && squares.extent(0) == rows && norms.extent(0) == rows,
        "[dora_norms] {} squares and {} norms for {} rows", squares.extent(0), norms.extent(0), rows);
  if (rows == 0) return;
  launch(device, "dora_norms", shape_for(rows, dora_threads), &dora_norms_kernel<S>, squares.data, rows_of(b),
         rows_of(wa), rows_of(baa), rows, b.extent(1), static_cast<float>(scale), norms.data);
}

/// y (N, out) += (m / n - 1) (y - bias); u (N, out), where it has rows, keeps y - bias.
template <class T>
void run(Tag<kernel::DoraForward>, KernelDevice& device, View<const float, 1> magnitudes, View<const float, 1> norms,
         In<T, 1> bias, View<T, 2> y, View<T, 2> u) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  check(magnitudes.packed() && norms.packed() && bias.packed() && magnitudes.extent(0) == cols &&
            norms.extent(0) == cols && (bias.extent(0) == 0 || bias.extent(0) == cols),
        "[dora] {} magnitudes, {} norms and {} biases do not fit y ({}, {})", magnitudes.extent(0), norms.extent(0),
        bias.extent(0), rows, cols);
  if (rows * cols == 0) return;
  const bool keep = u.rows() != 0;
  const bool vectors = allows_vectors(y) && (!keep || allows_vectors(u));
  const std::int64_t per_row = cols / (vectors ? vector_width<T> : 1);
  constexpr auto wide = &dora_forward_kernel<T, vector_width<T>>;
  constexpr auto scalar = &dora_forward_kernel<T, 1>;
  launch(device, "dora_forward", shape_for(rows * per_row, dora_threads), vectors ? wide : scalar, magnitudes.data,
         norms.data, bias.extent(0) == 0 ? nullptr : bias.data, rows_of(y), rows_of(u), keep, rows, per_row);
}

/// dm (out) = or += (sum over rows of dy u) / n, in an order that N alone decides.
template <class T>
void run(Tag<kernel::DoraMagnitudes>, KernelDevice& device, View<const T, 2> dy, In<T, 2> u, View<const float, 1> norms,
         View<float, 1> dm, bool accumulate) {
  const std::int64_t cols = dy.extent(1);
  check(norms.packed() && dm.packed() && dm.extent(0) == cols && u.rows() == dy.rows() && u.extent(1) == cols,
        "[dora] u ({}, {}) and {} magnitudes do not fit dy ({}, {})", u.rows(), u.extent(1), dm.extent(0), dy.rows(),
        cols);
  if (cols == 0) return;
  const gpu::LaunchShape shape{
      {grid_extent(ceil_div(cols, warp_lanes)), 1, 1}, {warp_lanes, dora_row_groups, 1}, sizeof(DoraShared)};
  launch(device, "dora_magnitudes", shape, &dora_magnitudes_kernel<T>, rows_of(dy), rows_of(u), norms.data, dm.data,
         dy.rows(), cols, accumulate);
}

template <class T>
void run(Tag<kernel::DoraBackward>, KernelDevice& device, View<const float, 1> magnitudes, View<const float, 1> norms,
         View<T, 2> dy) {
  launch_dora_scale<false>(device, "dora_backward", magnitudes, norms, dy);
}

template <class T>
void run(Tag<kernel::DoraScaleRows>, KernelDevice& device, View<const float, 1> magnitudes, View<const float, 1> norms,
         View<T, 2> w) {
  launch_dora_scale<true>(device, "dora_scale_rows", magnitudes, norms, w);
}

}  // namespace HONE_TARGET
}  // namespace hone
