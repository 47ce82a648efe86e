// Cross entropy over rows of logits, and its gradient in their place.
//   loss = log(sum_j exp(z_j)) - z_t,  dz_j = scale (softmax(z)_j - [j == t]);  with m = max z,
//   log(sum exp(z)) = m + log(sum exp(z - m)), which cannot overflow
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/block.cuh>
#include <hone/prim/vector.cuh>

namespace hone {

namespace kernel {
struct CrossEntropy;
}

inline namespace HONE_TARGET {

inline constexpr int cross_entropy_threads = 512;

struct CrossEntropyArgs {
  Rows<float> logits;           // (n, V)
  const std::int32_t* targets;  // (n); -100 = ignored
  float* losses;                // (n)
  std::int64_t cols;
  bool write_gradient;
  float scale;
};

/// A block's part of the row in one pass: the largest logit so far, and the sum of exp(z - largest), which is scaled
/// down whenever a larger one comes (Milakov and Gimelshein, 2018).
template <int V>
__device__ float row_log_sum_exp(const float* logits, std::int64_t cols, BlockScratch& scratch) {
  float largest = Max::identity, sum = 0;
  for (std::int64_t col = std::int64_t{threadIdx.x} * V; col < cols; col += std::int64_t{blockDim.x} * V) {
    const auto z = load<V>(logits + col);
    float here = z[0];
    for (int i = 1; i < V; ++i) here = here > z[i] ? here : z[i];
    if (here > largest) {
      sum *= expf(largest - here);
      largest = here;
    }
    for (int i = 0; i < V; ++i) sum += expf(z[i] - largest);
  }
  const float of_row = block_max(largest, scratch);
  return of_row + logf(block_sum(sum * expf(largest - of_row), scratch));
}

/// One block a row.
template <int V>
__global__ void __launch_bounds__(cross_entropy_threads) cross_entropy_kernel(CrossEntropyArgs args) {
  auto& scratch = shared_memory<BlockScratch>();
  constexpr std::int32_t ignored = -100;
  const std::int64_t row = blockIdx.x;
  float* logits = args.logits.row(row);
  const std::int32_t target = load(args.targets + row);
  device_check(target == ignored || (target >= 0 && target < args.cols));
  // Every thread knows the target, so the whole block takes the same way past the barriers.
  float log_sum_exp = 0;
  if (target != ignored) log_sum_exp = row_log_sum_exp<V>(logits, args.cols, scratch);
  if (threadIdx.x == 0) store(args.losses + row, target == ignored ? 0.0f : log_sum_exp - load(logits + target));
  if (!args.write_gradient) return;
  __syncthreads();  // thread 0 has read the target's logit, which another thread overwrites
  for (std::int64_t col = std::int64_t{threadIdx.x} * V; col < args.cols; col += std::int64_t{blockDim.x} * V) {
    Vec<float, V> gradient{};
    if (target != ignored) {
      gradient = load<V>(logits + col);
      for (int i = 0; i < V; ++i)
        gradient[i] = args.scale * (expf(gradient[i] - log_sum_exp) - (col + i == target ? 1.0f : 0.0f));
    }
    store(logits + col, gradient);
  }
}

/// losses (n) = negative log likelihood of targets (n) under logits (n, V), 0 where the target is -100. With
/// write_gradient the logits become scale * (softmax - onehot), 0 in ignored rows.
inline void run(Tag<kernel::CrossEntropy>, KernelDevice& device, View<float, 2> logits,
                View<const std::int32_t, 1> targets, View<float, 1> losses, bool write_gradient, double scale) {
  check(targets.packed() && losses.packed(), "[cross_entropy] targets and losses must be packed");
  if (logits.rows() == 0) return;
  const CrossEntropyArgs args{rows_of(logits),  targets.data,   losses.data,
                              logits.extent(1), write_gradient, static_cast<float>(scale)};
  const gpu::LaunchShape shape{{grid_extent(logits.rows()), 1, 1}, {cross_entropy_threads, 1, 1}, sizeof(BlockScratch)};
  launch(device, "cross_entropy", shape, allows_vectors(logits) ? &cross_entropy_kernel<4> : &cross_entropy_kernel<1>,
         args);
}

}  // namespace HONE_TARGET
}  // namespace hone
