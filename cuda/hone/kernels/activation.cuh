// Pointwise non-linearities of adapters, in float: y = f(x), dx (+)= dy f'(x).
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>
#include <hone/tensor/activation.hpp>

namespace hone {

namespace kernel {
struct ActivationForward;
struct ActivationBackward;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int activation_threads = 256;
inline constexpr float inverse_sqrt_2 = 0.70710678118654752f, inverse_sqrt_2_pi = 0.39894228040143268f;

__device__ inline float activation_value(Activation kind, float x) {
  if (kind == Activation::gelu) return 0.5f * x * (1.0f + erff(x * inverse_sqrt_2));
  if (kind == Activation::swish) return x / (1.0f + expf(-x));
  if (kind == Activation::tanh) return tanhf(x);
  return x > 0.0f ? x : kind == Activation::leakyrelu ? 0.01f * x : 0.0f;
}

/// The derivative; 0 at the kink of relu, as torch has it.
__device__ inline float activation_slope(Activation kind, float x) {
  if (kind == Activation::gelu)
    return 0.5f * (1.0f + erff(x * inverse_sqrt_2)) + x * inverse_sqrt_2_pi * expf(-0.5f * x * x);
  if (kind == Activation::swish) {
    const float s = 1.0f / (1.0f + expf(-x));
    return s * (1.0f + x * (1.0f - s));
  }
  if (kind == Activation::tanh) {
    const float y = tanhf(x);
    return 1.0f - y * y;
  }
  return x > 0.0f ? 1.0f : kind == Activation::leakyrelu ? 0.01f : 0.0f;
}

template <int = 0>
__global__ void __launch_bounds__(activation_threads)
    activation_forward_kernel(Activation kind, Rows<const float> x, Rows<float> y, std::int64_t rows,
                              std::int64_t cols) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * cols) return;
  const std::int64_t row = item / cols, col = item % cols;
  store(y.row(row) + col, activation_value(kind, load(x.row(row) + col)));
}

template <int = 0>
__global__ void __launch_bounds__(activation_threads)
    activation_backward_kernel(Activation kind, Rows<const float> dy, Rows<const float> x, Rows<float> dx,
                               std::int64_t rows, std::int64_t cols, bool accumulate) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * cols) return;
  const std::int64_t row = item / cols, col = item % cols;
  float* out = dx.row(row) + col;
  const float value = load(dy.row(row) + col) * activation_slope(kind, load(x.row(row) + col));
  store(out, accumulate ? load(out) + value : value);
}

/// y (N, C) = f(x).
template <class A>
void run(Tag<kernel::ActivationForward>, KernelDevice& device, Activation kind, In<A, 2> x, View<A, 2> y) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  if (rows * cols == 0) return;
  launch(device, "activation_forward", shape_for(rows * cols, activation_threads), &activation_forward_kernel<>, kind,
         rows_of(x), rows_of(y), rows, cols);
}

/// dx (N, C) = dy f'(x), or += dy f'(x).
template <class A>
void run(Tag<kernel::ActivationBackward>, KernelDevice& device, Activation kind, In<A, 2> dy, In<A, 2> x, View<A, 2> dx,
         bool accumulate) {
  const std::int64_t rows = dx.rows(), cols = dx.extent(1);
  if (rows * cols == 0) return;
  launch(device, "activation_backward", shape_for(rows * cols, activation_threads), &activation_backward_kernel<>, kind,
         rows_of(dy), rows_of(x), rows_of(dx), rows, cols, accumulate);
}

}  // namespace HONE_TARGET
}  // namespace hone
