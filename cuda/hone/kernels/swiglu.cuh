// SwiGLU: the gated half of a Llama MLP. gate and up are the two halves of one fused projection.
//   y = silu(g) u,  silu(g) = g s,  s = 1 / (1 + exp(-g))                                            (Shazeer, 2020)
//   dg = dy u s (1 + g (1 - s)),  du = dy g s
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>

namespace hone {

namespace kernel {
struct SwigluForward;
struct SwigluBackward;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int swiglu_threads = 256;

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/// One thread for V neighbouring columns of y; `vectors` = F / V of them a row.
template <class T, int V>
__global__ void __launch_bounds__(swiglu_threads)
    swiglu_forward_kernel(Rows<const T> gate_up, Rows<T> y, std::int64_t rows, std::int64_t vectors) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * vectors) return;
  const std::int64_t row = item / vectors, col = item % vectors * V;
  auto gate = load<V>(gate_up.row(row) + col);
  const auto up = load<V>(gate_up.row(row) + vectors * V + col);
  for (int i = 0; i < V; ++i) {
    const float g = to_float(gate[i]);
    gate[i] = from_float<T>(g * sigmoid(g) * to_float(up[i]));
  }
  store(y.row(row) + col, gate);
}

/// Reads all it needs before it writes, so dgate_up may be gate_up itself.
template <class T, int V>
__global__ void __launch_bounds__(swiglu_threads)
    swiglu_backward_kernel(Rows<const T> dy, Rows<const T> gate_up, Rows<T> dgate_up, std::int64_t rows,
                           std::int64_t vectors, bool accumulate) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * vectors) return;
  const std::int64_t row = item / vectors, col = item % vectors * V, up_col = vectors * V + col;
  const auto dy_here = load<V>(dy.row(row) + col);
  const auto gate = load<V>(gate_up.row(row) + col);
  const auto up = load<V>(gate_up.row(row) + up_col);
  Vec<T, V> dgate{}, dup{};
  if (accumulate) {
    dgate = load<V>(dgate_up.row(row) + col);
    dup = load<V>(dgate_up.row(row) + up_col);
  }
  for (int i = 0; i < V; ++i) {
    const float d = to_float(dy_here[i]), g = to_float(gate[i]), u = to_float(up[i]), s = sigmoid(g);
    const float for_gate = d * u * s * (1.0f + g * (1.0f - s)), for_up = d * g * s;
    dgate[i] = from_float<T>(accumulate ? to_float(dgate[i]) + for_gate : for_gate);
    dup[i] = from_float<T>(accumulate ? to_float(dup[i]) + for_up : for_up);
  }
  store(dgate_up.row(row) + col, dgate);
  store(dgate_up.row(row) + up_col, dup);
}

/// y (N, F) from gate_up (N, 2F): gate in columns [0, F), up in [F, 2F).
template <class T>
void run(Tag<kernel::SwigluForward>, KernelDevice& device, In<T, 2> gate_up, View<T, 2> y) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  check(gate_up.rows() == rows && gate_up.extent(1) == 2 * cols,
        "[swiglu] gate_up ({}, {}) must be (N, 2F) for y ({}, {})", gate_up.rows(), gate_up.extent(1), rows, cols);
  if (rows * cols == 0) return;
  // Half a row of gate_up must hold whole vectors, or `up` starts between two of them: y's columns say that.
  const bool vectors = allows_vectors(gate_up, y);
  const std::int64_t per_row = cols / (vectors ? vector_width<T> : 1);
  constexpr auto wide = &swiglu_forward_kernel<T, vector_width<T>>;
  constexpr auto scalar = &swiglu_forward_kernel<T, 1>;
  launch(device, "swiglu_forward", shape_for(rows * per_row, swiglu_threads), vectors ? wide : scalar, rows_of(gate_up),
         rows_of(y), rows, per_row);
}

/// dgate_up (N, 2F), overwritten or added to, from dy (N, F) and gate_up (N, 2F).
template <class T>
void run(Tag<kernel::SwigluBackward>, KernelDevice& device, In<T, 2> dy, In<T, 2> gate_up, View<T, 2> dgate_up,
         bool accumulate) {
  const std::int64_t rows = dy.rows(), cols = dy.extent(1);
  check(gate_up.rows() == rows && gate_up.extent(1) == 2 * cols,
        "[swiglu] gate_up ({}, {}) must be (N, 2F) for dy ({}, {})", gate_up.rows(), gate_up.extent(1), rows, cols);
  if (rows * cols == 0 || dgate_up.rows() == 0) return;
  const bool vectors = allows_vectors(dy, gate_up, dgate_up);
  const std::int64_t per_row = cols / (vectors ? vector_width<T> : 1);
  constexpr auto wide = &swiglu_backward_kernel<T, vector_width<T>>;
  constexpr auto scalar = &swiglu_backward_kernel<T, 1>;
  launch(device, "swiglu_backward", shape_for(rows * per_row, swiglu_threads), vectors ? wide : scalar, rows_of(dy),
         rows_of(gate_up), rows_of(dgate_up), rows, per_row, accumulate);
}

}  // namespace HONE_TARGET
}  // namespace hone
