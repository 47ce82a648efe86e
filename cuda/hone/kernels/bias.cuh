// Bias addition and sums over rows: y += b on every row, db = sum over rows of dy. RMSNorm adds its partial sums here
// too.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>

namespace hone {

namespace kernel {
struct AddBias;
struct SumOfRows;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int bias_threads = 256;

template <class T, int V>
__global__ void __launch_bounds__(bias_threads)
    add_bias_kernel(const T* bias, Rows<T> y, std::int64_t rows, std::int64_t vectors) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * vectors) return;
  const std::int64_t col = item % vectors * V;
  T* out = y.row(item / vectors) + col;
  auto values = load<V>(out);
  const auto added = load<V>(bias + col);
  for (int i = 0; i < V; ++i) values[i] = from_float<T>(to_float(values[i]) + to_float(added[i]));
  store(out, values);
}

inline constexpr int row_groups = 8;

struct SumOfRowsShared {
  float of_group[row_groups][warp_lanes];
};

/// out (+)= the sum over rows of x. 32 columns a block; thread row g adds rows g, g + 8, ..., then the eight sums are
/// added in their order.
template <class T, class G>
__global__ void __launch_bounds__(row_groups* warp_lanes)
    sum_of_rows_kernel(Rows<const T> x, std::int64_t rows, std::int64_t cols, G* out, bool accumulate) {
  auto& shared = shared_memory<SumOfRowsShared>();
  const std::int64_t col = std::int64_t{blockIdx.x} * warp_lanes + threadIdx.x;
  float sum = 0;
  if (col < cols)
    for (std::int64_t row = threadIdx.y; row < rows; row += row_groups) sum += to_float(load(x.row(row) + col));
  shared.of_group[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
  float total = accumulate ? to_float(load(out + col)) : 0.0f;
  for (int group = 0; group < row_groups; ++group) total += shared.of_group[group][threadIdx.x];
  store(out + col, from_float<G>(total));
}

/// y (N, C) += bias (C) on every row.
template <class T>
void run(Tag<kernel::AddBias>, KernelDevice& device, In<T, 1> bias, View<T, 2> y) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  check(bias.packed() && bias.extent(0) == cols, "[bias] bias ({}) must be packed and match the columns of y ({}, {})",
        bias.extent(0), rows, cols);
  if (rows * cols == 0) return;
  const bool vectors = allows_vectors(bias, y);
  const std::int64_t per_row = cols / (vectors ? vector_width<T> : 1);
  constexpr auto wide = &add_bias_kernel<T, vector_width<T>>;
  constexpr auto scalar = &add_bias_kernel<T, 1>;
  launch(device, "add_bias", shape_for(rows * per_row, bias_threads), vectors ? wide : scalar, bias.data, rows_of(y),
         rows, per_row);
}

/// sum (C) = or += the sum over rows of x (N, C), in an order that N alone decides.
template <class T, class G>
void run(Tag<kernel::SumOfRows>, KernelDevice& device, View<const T, 2> x, View<G, 1> sum, bool accumulate) {
  check(sum.packed(), "[sum_of_rows] the result must be packed");
  const std::int64_t cols = x.extent(1);
  if (cols == 0) return;
  const gpu::LaunchShape shape{
      {grid_extent(ceil_div(cols, warp_lanes)), 1, 1}, {warp_lanes, row_groups, 1}, sizeof(SumOfRowsShared)};
  launch(device, "sum_of_rows", shape, &sum_of_rows_kernel<T, G>, rows_of(x), x.rows(), cols, sum.data, accumulate);
}

}  // namespace HONE_TARGET
}  // namespace hone
