// RMSNorm, alone or with the residual addition before it.
//   y = x r w,  r = 1 / sqrt(mean(x^2) + eps)                                       (Zhang and Sennrich, 2019)
//   With g = dy w and xhat = x r:  dx = r (g - xhat mean(g xhat)),  dw = sum over rows of dy xhat
#pragma once

#include <hone/kernels/bias.cuh>
#include <hone/prim/block.cuh>
#include <hone/prim/vector.cuh>
#include <hone/tensor/gpu_workspace.hpp>

#include <algorithm>
#include <cstddef>

namespace hone {

namespace kernel {
struct RmsNormForward;
struct AddRmsNormForward;
struct RmsNormBackward;
}  // namespace kernel

inline namespace HONE_TARGET {

// ---- kernels ----

template <class T>
struct RmsNormForwardArgs {
  Rows<const T> x;
  Rows<const T> delta;  // added to x first
  const T* weight;      // (C)
  float eps;
  Rows<T> sum;  // x + delta
  Rows<T> y;
  float* rstd;  // (N), or null
  std::int64_t rows, cols;
};

inline constexpr int rms_norm_warps = 4;  // rows of a block

/// One warp a row, so no barrier. Each lane meets the same V columns in both passes: what the first wrote to `sum`, the
/// second reads back, whatever `sum` aliases; and it comes from the cache.
template <class T, int V, bool Add>
__global__ void __launch_bounds__(rms_norm_warps* warp_lanes) rms_norm_forward_kernel(RmsNormForwardArgs<T> args) {
  const std::int64_t row = std::int64_t{blockIdx.x} * rms_norm_warps + warp_index();
  if (row >= args.rows) return;
  const int first = lane_index() * V;
  const T* x = args.x.row(row);
  float squares = 0;
  for (std::int64_t col = first; col < args.cols; col += warp_lanes * V) {
    auto value = load<V>(x + col);
    if constexpr (Add) {
      const auto delta = load<V>(args.delta.row(row) + col);
      for (int i = 0; i < V; ++i) value[i] = from_float<T>(to_float(value[i]) + to_float(delta[i]));
      store(args.sum.row(row) + col, value);
    }
    for (int i = 0; i < V; ++i) squares += to_float(value[i]) * to_float(value[i]);
  }
  const float rstd = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(args.cols) + args.eps);
  if (args.rstd != nullptr && lane_index() == 0) store(args.rstd + row, rstd);
  if constexpr (Add) x = args.sum.row(row);
  for (std::int64_t col = first; col < args.cols; col += warp_lanes * V) {
    auto value = load<V>(x + col);
    const auto weight = load<V>(args.weight + col);
    for (int i = 0; i < V; ++i) value[i] = from_float<T>(to_float(value[i]) * rstd * to_float(weight[i]));
    store(args.y.row(row) + col, value);
  }
}

template <class T>
struct RmsNormBackwardArgs {
  Rows<const T> dy;
  Rows<const T> x;
  const T* weight;    // (C)
  const float* rstd;  // (N)
  Rows<T> dx;         // data is null: not wanted
  bool accumulate;
  float* partials;  // (blocks, C), or null: dweight is not wanted
  std::int64_t rows, cols, rows_per_block;
};

/// Writes a thread's V sums to columns from `own` of a row of `cols`, 16 bytes a store. Where V is more than 16 bytes
/// hold, neighbours exchange pieces, so that each store of a warp fills whole sectors. All lanes of the warp call.
template <int V>
__device__ void store_partials(float* row, const float (&sums)[V], std::int64_t own, std::int64_t cols) {
  constexpr int piece = V < vector_width<float> ? V : vector_width<float>, lanes = V / piece;
  float pieces[lanes][piece];
  HONE_UNROLL
  for (int i = 0; i < V; ++i) pieces[i / piece][i % piece] = sums[i];
  warp_transpose(pieces);
  const int lane = lane_index() % lanes;
  HONE_UNROLL
  for (int from = 0; from < lanes; ++from) {
    const std::int64_t col = own + (from - lane) * V + lane * piece;
    Vec<float, piece> values;
    HONE_UNROLL
    for (int i = 0; i < piece; ++i) values[i] = pieces[from][i];
    if (col < cols) store(row + col, values);
  }
}

/// A block takes consecutive rows one by one; a thread owns V columns of them, so that it sums its part of dweight in
/// registers. Rows wider than a block are cut along blockIdx.y, and each part forms the row's dot product for itself.
template <class T, int V>
__global__ void rms_norm_backward_kernel(RmsNormBackwardArgs<T> args) {
  auto& scratch = shared_memory<BlockScratch>();
  const std::int64_t own = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * V;
  const std::int64_t begin = std::int64_t{blockIdx.x} * args.rows_per_block;
  const std::int64_t end = begin + args.rows_per_block < args.rows ? begin + args.rows_per_block : args.rows;
  float dweight[V] = {};
  for (std::int64_t row = begin; row < end; ++row) {
    const T* dy = args.dy.row(row);
    const T* x = args.x.row(row);
    const float rstd = load(args.rstd + row);
    float dot = 0;  // of g and x
    for (std::int64_t col = std::int64_t{threadIdx.x} * V; col < args.cols; col += std::int64_t{blockDim.x} * V) {
      const auto dy_here = load<V>(dy + col);
      const auto x_here = load<V>(x + col);
      const auto weight = load<V>(args.weight + col);
      for (int i = 0; i < V; ++i) dot += to_float(dy_here[i]) * to_float(weight[i]) * to_float(x_here[i]);
    }
    const float mean = block_sum(dot, scratch) * rstd / static_cast<float>(args.cols);  // of g and xhat
    if (own >= args.cols) continue;
    const auto dy_here = load<V>(dy + own);
    const auto x_here = load<V>(x + own);
    for (int i = 0; i < V; ++i) dweight[i] += to_float(dy_here[i]) * to_float(x_here[i]) * rstd;
    if (args.dx.data == nullptr) continue;
    const auto weight = load<V>(args.weight + own);
    auto dx = args.accumulate ? load<V>(args.dx.row(row) + own) : Vec<T, V>{};
    for (int i = 0; i < V; ++i) {
      const float inner = to_float(dy_here[i]) * to_float(weight[i]) - to_float(x_here[i]) * rstd * mean;
      dx[i] = from_float<T>((args.accumulate ? to_float(dx[i]) : 0.0f) + rstd * inner);
    }
    store(args.dx.row(row) + own, dx);
  }
  if (args.partials != nullptr) store_partials(args.partials + blockIdx.x * args.cols, dweight, own, args.cols);
}

// ---- launchers ----

namespace kernel_detail {

template <bool Add, class T>
void rms_norm_forward(KernelDevice& device, const RmsNormForwardArgs<T>& args, bool vectors) {
  if (args.rows == 0) return;
  const auto shape =
      shape_for(ceil_div(args.rows, rms_norm_warps) * rms_norm_warps * warp_lanes, rms_norm_warps * warp_lanes);
  constexpr auto wide = &rms_norm_forward_kernel<T, vector_width<T>, Add>;
  constexpr auto scalar = &rms_norm_forward_kernel<T, 1, Add>;
  launch(device, Add ? "add_rms_norm_forward" : "rms_norm_forward", shape, vectors ? wide : scalar, args);
}

/// Threads of the backward block: V columns each, the whole row where that is possible.
inline unsigned rms_norm_backward_threads(std::int64_t cols, int width) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(round_up(ceil_div(cols, width), warp_lanes), warp_lanes, 1024));
}

}  // namespace kernel_detail

/// y = norm(x) * weight, and rstd = 1 / rms of every row unless absent. x, y (N, C); weight (C); rstd (N).
template <class T>
void run(Tag<kernel::RmsNormForward>, KernelDevice& device, In<T, 2> x, In<T, 1> weight, double eps, View<T, 2> y,
         View<float, 1> rstd) {
  check(weight.packed() && rstd.packed(), "[rms_norm] weight and rstd must be packed");
  const RmsNormForwardArgs<T> args{.x = rows_of(x),
                                   .delta = {},
                                   .weight = weight.data,
                                   .eps = static_cast<float>(eps),
                                   .sum = {},
                                   .y = rows_of(y),
                                   .rstd = rstd.extent(0) == 0 ? nullptr : rstd.data,
                                   .rows = x.rows(),
                                   .cols = x.extent(1)};
  kernel_detail::rms_norm_forward<false>(device, args, allows_vectors(x, weight, y));
}

/// sum = x + delta, rounded to T; y = norm(sum) * weight reads the rounded sum. `sum` may be `x` or `delta` itself.
template <class T>
void run(Tag<kernel::AddRmsNormForward>, KernelDevice& device, In<T, 2> x, In<T, 2> delta, In<T, 1> weight, double eps,
         View<T, 2> sum, View<T, 2> y, View<float, 1> rstd) {
  check(weight.packed() && rstd.packed(), "[add_rms_norm] weight and rstd must be packed");
  const RmsNormForwardArgs<T> args{.x = rows_of(x),
                                   .delta = rows_of(delta),
                                   .weight = weight.data,
                                   .eps = static_cast<float>(eps),
                                   .sum = rows_of(sum),
                                   .y = rows_of(y),
                                   .rstd = rstd.extent(0) == 0 ? nullptr : rstd.data,
                                   .rows = x.rows(),
                                   .cols = x.extent(1)};
  kernel_detail::rms_norm_forward<true>(device, args, allows_vectors(x, delta, weight, sum, y));
}

/// dx (N, C) and dweight (C), each absent, overwritten or added to. dx must not be x or dy. The weight's gradient is
/// summed by way of the workspace, in an order that follows from the shapes; a small workspace means fewer partial
/// sums.
template <class T, class G>
void run(Tag<kernel::RmsNormBackward>, KernelDevice& device, In<T, 2> dy, In<T, 2> x, In<T, 1> weight,
         In<float, 1> rstd, View<T, 2> dx, bool accumulate, View<G, 1> dweight, bool accumulate_weight,
         View<std::byte, 1> workspace) {
  const std::int64_t rows = x.rows(), cols = x.extent(1), row_bytes = cols * std::int64_t{sizeof(float)};
  const bool weight_wanted = dweight.extent(0) > 0;
  check(weight.packed() && rstd.packed() && dweight.packed(), "[rms_norm] weight, rstd and dweight must be packed");
  if (cols == 0 || (dx.rows() == 0 && !weight_wanted)) return;
  std::int64_t blocks = std::min(rows, gpu::rms_norm_most_partials);
  if (weight_wanted && rows > 0) {
    check(workspace.extent(0) >= row_bytes, "[rms_norm] workspace has {} bytes, wanted {}, at least {}",
          workspace.extent(0), gpu::rms_norm_workspace_bytes(device.target(), rows, cols), row_bytes);
    blocks = std::min(blocks, workspace.extent(0) / row_bytes);
  }
  auto* partials = weight_wanted ? reinterpret_cast<float*>(workspace.data) : nullptr;
  if (rows > 0) {
    const std::int64_t rows_per_block = ceil_div(rows, blocks);
    blocks = ceil_div(rows, rows_per_block);
    const RmsNormBackwardArgs<T> args{.dy = rows_of(dy),
                                      .x = rows_of(x),
                                      .weight = weight.data,
                                      .rstd = rstd.data,
                                      .dx = {dx.rows() == 0 ? nullptr : dx.data, dx.stride},
                                      .accumulate = accumulate,
                                      .partials = partials,
                                      .rows = rows,
                                      .cols = cols,
                                      .rows_per_block = rows_per_block};
    const bool vectors = allows_vectors(dy, x, weight) && (dx.rows() == 0 || allows_vectors(dx));
    const int width = vectors ? vector_width<T> : 1;
    const unsigned threads = kernel_detail::rms_norm_backward_threads(cols, width);
    const auto parts = grid_extent(ceil_div(cols, std::int64_t{threads} * width));
    constexpr auto wide = &rms_norm_backward_kernel<T, vector_width<T>>;
    constexpr auto scalar = &rms_norm_backward_kernel<T, 1>;
    launch(device, "rms_norm_backward", {{grid_extent(blocks), parts, 1}, {threads, 1, 1}, sizeof(BlockScratch)},
           vectors ? wide : scalar, args);
  }
  if (weight_wanted)
    run(Tag<kernel::SumOfRows>{}, device, View<const float, 2>{partials, {blocks, cols}, cols}, dweight,
        accumulate_weight);
}

}  // namespace HONE_TARGET
}  // namespace hone
