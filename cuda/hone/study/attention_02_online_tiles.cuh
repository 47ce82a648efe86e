// Attention, rung 2 of 4: the scores never reach memory (Dao et al., 2022).
// Changed: one kernel. A thread takes a query, with its row of q and its sums in registers, and walks the keys its
// block sees; keys and values come through shared memory, 64 positions at a time, for 64 queries. It keeps the largest
// score it has met and the sum of exponentials relative to it. When a larger one comes, what was summed is scaled down
// by exp(old - new): the rule of cross-entropy's rung 2, with a vector beside the sum.
// Predict: nothing but the result is stored. Block b of 64 queries reads b + 1 tiles of k and of v and its own rows of
// q: 256 bytes for the scores of 64 queries with one key, where rung 1 moved each score seven times. For each score a
// thread reads 128 bytes of k and 128 of v from shared memory, all threads of a warp the same: that is the new limit.
#pragma once

#include <hone/prim/fragments.cuh>
#include <hone/study/attention_01_three_passes.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// Queries of a block, and positions of a tile of keys and values.
inline constexpr int study_rows = 64;

using StudyHeadTile = HalfTile<study_rows, study_head_dim>;

struct StudyAttentionTiles {
  StudyHeadTile k, v;
};

/// A tensor with the columns of one head brought to the front.
template <class T>
__device__ Rows<T> study_head(const Rows<T>& tensor, int head) {
  return {tensor.data + std::int64_t{head} * study_head_dim, tensor.stride};
}

/// Fills `tile` with rows from `first` on, through registers; what lies past the last becomes zero.
template <class Tile>
__device__ void study_fill_rows(Tile& tile, const Rows<const bf16>& from, int first, int rows,
                                Where where = Where::here()) {
  constexpr int width = vector_width<bf16>, per_row = Tile::cols / width;
  for (int item = thread_index(); item < Tile::rows * per_row; item += block_threads()) {
    const int r = item / per_row, c = item % per_row * width;
    Vec<bf16, width> values{};
    if (first + r < rows) values = load<width>(from.row(first + r) + c, where);
    store(tile.at(r, c), values, where);
  }
}

/// One query: its row, what it has summed, the largest score so far, and the sum of exponentials relative to it.
struct StudyQuery {
  float q[study_head_dim], sums[study_head_dim] = {};
  float max = Max::identity, total = 0;

  __device__ void begin(const bf16* row) {
    constexpr int width = vector_width<bf16>;
    HONE_UNROLL
    for (int c = 0; c < study_head_dim; c += width) {
      const auto values = load<width>(row + c);
      HONE_UNROLL
      for (int i = 0; i < width; ++i) q[c + i] = to_float(values[i]);
    }
  }

  __device__ void meet(const bf16* key, const bf16* value, float scale) {
    constexpr int width = vector_width<bf16>;
    float score = 0;
    HONE_UNROLL
    for (int c = 0; c < study_head_dim; c += width) {
      const auto k = load<width>(key + c);
      HONE_UNROLL
      for (int i = 0; i < width; ++i) score += q[c + i] * to_float(k[i]);
    }
    score *= scale;
    if (score > max) {
      const float shrink = expf(max - score);
      total *= shrink;
      HONE_UNROLL
      for (int c = 0; c < study_head_dim; ++c) sums[c] *= shrink;
      max = score;
    }
    const float weight = expf(score - max);
    total += weight;
    HONE_UNROLL
    for (int c = 0; c < study_head_dim; c += width) {
      const auto v = load<width>(value + c);
      HONE_UNROLL
      for (int i = 0; i < width; ++i) sums[c + i] += weight * to_float(v[i]);
    }
  }

  template <class C>
  __device__ void finish(C* out) const {
    constexpr int width = vector_width<C>;
    HONE_UNROLL
    for (int c = 0; c < study_head_dim; c += width) {
      Vec<C, width> values;
      HONE_UNROLL
      for (int i = 0; i < width; ++i) values[i] = from_float<C>(sums[c + i] / total);
      store(out + c, values);
    }
  }
};

template <class C>
__global__ void __launch_bounds__(study_rows) attention_02_kernel(StudyAttention<C> args) {
  auto& shared = shared_memory<StudyAttentionTiles>();
  const int head = static_cast<int>(blockIdx.y), first = static_cast<int>(blockIdx.x) * study_rows;
  const int query = first + thread_index();
  StudyQuery mine;
  if (query < args.length) mine.begin(study_head(args.q, head).row(query));
  for (int key = 0; key <= first; key += study_rows) {
    __syncthreads();  // the tiles before are done with
    study_fill_rows(shared.k, study_head(args.k, head), key, args.length);
    study_fill_rows(shared.v, study_head(args.v, head), key, args.length);
    __syncthreads();
    if (query >= args.length) continue;
    for (int r = 0; r < study_rows && key + r <= query; ++r)
      mine.meet(shared.k.at(r, 0), shared.v.at(r, 0), args.scale);
  }
  if (query < args.length) mine.finish(study_head(args.out, head).row(query));
}

/// A block for 64 queries of a head; from here on rows start on multiples of 16 bytes.
template <class C>
gpu::LaunchShape study_blocks(const StudyAttention<C>& args, unsigned threads, std::size_t shared_bytes) {
  return {{grid_extent(ceil_div(args.length, study_rows)), grid_extent(args.heads), 1}, {threads, 1, 1}, shared_bytes};
}

template <class C>
void attention_02(KernelDevice& device, const StudyAttention<C>& args) {
  launch(device, "attention_02", study_blocks(args, study_rows, sizeof(StudyAttentionTiles)), &attention_02_kernel<C>,
         args);
}

}  // namespace HONE_TARGET
}  // namespace hone
