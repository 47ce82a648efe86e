// One number a column: y (+)= x l, y += s b, and what flows back to l and b: sums over rows. An adapter's numbers are
// float where the tensor is bf16.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>

namespace hone {

namespace kernel {
struct ScaleColumns;
struct AddColumns;
struct SumOfProducts;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int columns_threads = 256;

template <class T>
__global__ void __launch_bounds__(columns_threads)
    scale_columns_kernel(Rows<const T> x, const float* l, Rows<T> y, std::int64_t rows, std::int64_t cols,
                         bool accumulate) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * cols) return;
  const std::int64_t row = item / cols, col = item % cols;
  T* out = y.row(row) + col;
  const float value = to_float(load(x.row(row) + col)) * load(l + col);
  store(out, from_float<T>(accumulate ? to_float(load(out)) + value : value));
}

template <class T>
__global__ void __launch_bounds__(columns_threads)
    add_columns_kernel(const float* b, float scale, Rows<T> y, std::int64_t rows, std::int64_t cols) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * cols) return;
  const std::int64_t col = item % cols;
  T* out = y.row(item / cols) + col;
  store(out, from_float<T>(to_float(load(out)) + scale * load(b + col)));
}

inline constexpr int product_groups = 8;

struct SumOfProductsShared {
  float of_group[product_groups][warp_lanes];
};

/// sum (+)= scale times the sum over rows of a b, or of a alone. 32 columns a block; thread row g adds rows g, g + 8,
/// ..., then the eight sums are added in their order.
template <class T>
__global__ void __launch_bounds__(product_groups* warp_lanes)
    sum_of_products_kernel(Rows<const T> a, Rows<const T> b, bool alone, std::int64_t rows, std::int64_t cols,
                           float scale, float* sum, bool accumulate) {
  auto& shared = shared_memory<SumOfProductsShared>();
  const std::int64_t col = std::int64_t{blockIdx.x} * warp_lanes + threadIdx.x;
  float mine = 0;
  if (col < cols)
    for (std::int64_t row = threadIdx.y; row < rows; row += product_groups)
      mine += to_float(load(a.row(row) + col)) * (alone ? 1.0f : to_float(load(b.row(row) + col)));
  shared.of_group[threadIdx.y][threadIdx.x] = mine;
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
  float total = 0;
  for (int group = 0; group < product_groups; ++group) total += shared.of_group[group][threadIdx.x];
  store(sum + col, accumulate ? load(sum + col) + scale * total : scale * total);
}

/// y (N, C) = x l, or += x l, with l (C).
template <class T>
void run(Tag<kernel::ScaleColumns>, KernelDevice& device, In<T, 2> x, View<const float, 1> l, View<T, 2> y,
         bool accumulate) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  check(l.packed() && l.extent(0) == cols, "[scale_columns] l ({}) must be packed and match the columns of y ({}, {})",
        l.extent(0), rows, cols);
  if (rows * cols == 0) return;
  launch(device, "scale_columns", shape_for(rows * cols, columns_threads), &scale_columns_kernel<T>, rows_of(x), l.data,
         rows_of(y), rows, cols, accumulate);
}

/// y (N, C) += scale b, with b (C).
template <class T>
void run(Tag<kernel::AddColumns>, KernelDevice& device, View<const float, 1> b, double scale, View<T, 2> y) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  check(b.packed() && b.extent(0) == cols, "[add_columns] b ({}) must be packed and match the columns of y ({}, {})",
        b.extent(0), rows, cols);
  if (rows * cols == 0) return;
  launch(device, "add_columns", shape_for(rows * cols, columns_threads), &add_columns_kernel<T>, b.data,
         static_cast<float>(scale), rows_of(y), rows, cols);
}

/// sum (C) (+)= scale times the sum over rows of a b, in an order that N alone decides; of a alone where b has no rows.
template <class T>
void run(Tag<kernel::SumOfProducts>, KernelDevice& device, View<const T, 2> a, In<T, 2> b, double scale,
         View<float, 1> sum, bool accumulate) {
  check(sum.packed(), "[sum_of_products] the result must be packed");
  const std::int64_t cols = a.extent(1);
  if (cols == 0) return;
  const gpu::LaunchShape shape{
      {grid_extent(ceil_div(cols, warp_lanes)), 1, 1}, {warp_lanes, product_groups, 1}, sizeof(SumOfProductsShared)};
  launch(device, "sum_of_products", shape, &sum_of_products_kernel<T>, rows_of(a), rows_of(b), b.rows() == 0, a.rows(),
         cols, static_cast<float>(scale), sum.data, accumulate);
}

}  // namespace HONE_TARGET
}  // namespace hone
