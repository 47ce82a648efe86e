// Fill, and copy with conversion.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>

#include <type_traits>

namespace hone {

namespace kernel {
struct Fill;
struct Copy;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int fill_threads = 256;

/// V neighbouring elements a thread; `vectors` of them a row.
template <class T, int V>
__global__ void __launch_bounds__(fill_threads)
    fill_kernel(Rows<T> y, std::int64_t rows, std::int64_t vectors, T value) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * vectors) return;
  Vec<T, V> values;
  for (int i = 0; i < V; ++i) values[i] = value;
  store(y.row(item / vectors) + item % vectors * V, values);
}

/// Floating types to and from what sums are formed in: double where a double takes part, else float.
template <class S, class T>
__device__ S widened(T value) {
  if constexpr (std::is_same_v<T, double>)
    return value;
  else
    return to_float(value);
}
template <class T, class S>
__device__ T rounded_to(S value) {
  if constexpr (std::is_same_v<T, double>)
    return value;
  else
    return from_float<T>(static_cast<float>(value));
}

template <class From, class To>
__global__ void __launch_bounds__(fill_threads)
    copy_kernel(Rows<const From> x, Rows<To> y, std::int64_t rows, std::int64_t cols, bool accumulate) {
  using S = std::conditional_t<std::is_same_v<From, double> || std::is_same_v<To, double>, double, float>;
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * cols) return;
  const std::int64_t row = item / cols, col = item % cols;
  const S value = widened<S>(load(x.row(row) + col));
  To* out = y.row(row) + col;
  store(out, rounded_to<To>(accumulate ? widened<S>(load(out)) + value : value));
}

/// y = value.
template <class T>
void run(Tag<kernel::Fill>, KernelDevice& device, View<T, 2> y, std::type_identity_t<T> value) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  if (rows * cols == 0) return;
  const bool vectors = allows_vectors(y);
  const std::int64_t per_row = cols / (vectors ? vector_width<T> : 1);
  constexpr auto wide = &fill_kernel<T, vector_width<T>>;
  constexpr auto scalar = &fill_kernel<T, 1>;
  launch(device, "fill", shape_for(rows * per_row, fill_threads), vectors ? wide : scalar, rows_of(y), rows, per_row,
         value);
}

/// y = x or y += x, between double, float and bf16.
template <class From, class To>
void run(Tag<kernel::Copy>, KernelDevice& device, View<const From, 2> x, View<To, 2> y, bool accumulate) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  if (rows * cols == 0) return;
  launch(device, "copy", shape_for(rows * cols, fill_threads), &copy_kernel<From, To>, rows_of(x), rows_of(y), rows,
         cols, accumulate);
}

}  // namespace HONE_TARGET
}  // namespace hone
