// Attention, rung 1 of 4: three kernels, as the equations stand, with the scores in memory between them.
//   s = scale q k^T,  p = softmax(s) over the keys j <= i that query i sees,  out = p v
// Heads are columns 64 h to 64 h + 63 of each row. Factors are bf16; scores and sums fp32.
// Predict: with T positions a head has T (T + 1) / 2 scores of 4 bytes. They are written twice, and read three times by
// the softmax and once more by each warp that makes 32 columns of a query's result. q, k, v and the result have 128
// bytes a position and head: at T = 1024 the scores written are 32 times as many bytes as the result.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>

#include <cmath>

namespace hone {
inline namespace HONE_TARGET {

inline constexpr int study_head_dim = 64;

/// What every rung of this ladder is given.
template <class C>
struct StudyAttention {
  Rows<const bf16> q, k, v;  // (length, heads * 64)
  Rows<C> out;               // (length, heads * 64)
  float* scores;             // (heads, length, length), for this rung alone
  int length, heads;
  float scale;
};

inline constexpr unsigned study_attention_lines = 4;  // queries of a block, in all three kernels

/// One score a thread, the threads of a warp at neighbouring keys.
template <class C>
__global__ void attention_01_scores_kernel(StudyAttention<C> args) {
  constexpr int width = vector_width<bf16>;
  const int key = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int query = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y), head = static_cast<int>(blockIdx.z);
  if (query >= args.length || key > query) return;
  float score = 0;
  for (int c = head * study_head_dim; c < (head + 1) * study_head_dim; c += width) {
    const auto q = load<width>(args.q.row(query) + c);
    const auto k = load<width>(args.k.row(key) + c);
    for (int i = 0; i < width; ++i) score += to_float(q[i]) * to_float(k[i]);
  }
  store(args.scores + (std::int64_t{head} * args.length + query) * args.length + key, args.scale * score);
}

/// One query a warp: its maximum, its sum, its weights.
template <class C>
__global__ void attention_01_softmax_kernel(StudyAttention<C> args) {
  const int query = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y), head = static_cast<int>(blockIdx.z);
  if (query >= args.length) return;
  float* row = args.scores + (std::int64_t{head} * args.length + query) * args.length;
  float max = Max::identity, sum = 0;
  for (int key = lane_index(); key <= query; key += warp_lanes) max = fmaxf(max, load(row + key));
  max = warp_max(max);
  for (int key = lane_index(); key <= query; key += warp_lanes) sum += expf(load(row + key) - max);
  sum = warp_sum(sum);
  for (int key = lane_index(); key <= query; key += warp_lanes) store(row + key, expf(load(row + key) - max) / sum);
}

/// One element of the result a thread, the threads of a warp at neighbouring columns.
template <class C>
__global__ void attention_01_values_kernel(StudyAttention<C> args) {
  const int query = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y), head = static_cast<int>(blockIdx.z);
  if (query >= args.length) return;
  const float* row = args.scores + (std::int64_t{head} * args.length + query) * args.length;
  const int col = head * study_head_dim + static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int key = 0; key <= query; ++key) {
    const float weight = load(row + key);
    sum += weight * to_float(load(args.v.row(key) + col));
  }
  store(args.out.row(query) + col, from_float<C>(sum));
}

template <class C>
void attention_01(KernelDevice& device, const StudyAttention<C>& args) {
  const unsigned lines = grid_extent(ceil_div(args.length, study_attention_lines));
  const unsigned heads = grid_extent(args.heads), keys = grid_extent(ceil_div(args.length, warp_lanes));
  launch(device, "attention_01_scores", {{keys, lines, heads}, {warp_lanes, study_attention_lines, 1}, 0},
         &attention_01_scores_kernel<C>, args);
  launch(device, "attention_01_softmax", {{1, lines, heads}, {warp_lanes, study_attention_lines, 1}, 0},
         &attention_01_softmax_kernel<C>, args);
  launch(device, "attention_01_values", {{1, lines, heads}, {study_head_dim, study_attention_lines, 1}, 0},
         &attention_01_values_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
