// Attention, rung 4 of 4: the next tiles come while these are multiplied.
// Changed: two buffers of keys and values, filled by cp.async past the registers, as in GEMM's rung 6.
// Predict: the same bytes, none through registers; one barrier for a tile of keys instead of two; the same result to
// the bit. What kernels/attention_forward.cuh does beyond: 32 queries a warp, so that a tile that was read serves
// twice; base 2 exponentials, which are one instruction; a maximum that is followed only when it has grown much; keys
// and values that wait for one another's product instead of whole buffers; blocks with the most keys first.
#pragma once

#include <hone/prim/async_copy.cuh>
#include <hone/study/attention_03_tensor_cores.cuh>

namespace hone {
inline namespace HONE_TARGET {

struct StudyAttentionBuffers {
  StudyHeadTile q, k[2], v[2];
};

/// Starts filling `tile` with rows from `first` on; what lies past the last becomes zero.
template <class Tile>
__device__ void study_fill_rows_async(Tile& tile, const Rows<const bf16>& from, int first, int rows,
                                      Where where = Where::here()) {
  constexpr int width = vector_width<bf16>, per_row = Tile::cols / width;
  for (int item = thread_index(); item < Tile::rows * per_row; item += block_threads()) {
    const int r = item / per_row, c = item % per_row * width;
    const bool inside = first + r < rows;
    const bf16* source = inside ? from.row(first + r) + c : from.data;  // with nothing to read still a valid address
    async_copy16(tile.at(r, c), source, inside ? 16 : 0, where);
  }
}

template <class C>
__global__ void __launch_bounds__(StudyWarps::threads) attention_04_kernel(StudyAttention<C> args) {
  auto& shared = shared_memory<StudyAttentionBuffers>();
  const int head = static_cast<int>(blockIdx.y), first = static_cast<int>(blockIdx.x) * study_rows;
  const int row = first + warp_index() * StudyWarps::rows;
  const auto fill = [&](int key) {
    const int buffer = key / study_rows % 2;
    study_fill_rows_async(shared.k[buffer], study_head(args.k, head), key, args.length);
    study_fill_rows_async(shared.v[buffer], study_head(args.v, head), key, args.length);
    async_commit();
  };
  study_fill_rows_async(shared.q, study_head(args.q, head), first, args.length);
  fill(0);
  StudySums sums = {};
  StudyRunning running;
  for (int key = 0; key <= first; key += study_rows) {
    const int buffer = key / study_rows % 2;
    async_wait<0>();
    __syncthreads();  // others' copies have landed, and the other buffer is done with
    if (key + study_rows <= first) fill(key + study_rows);
    study_attend(running, sums, shared.q, shared.k[buffer], shared.v[buffer], row, key, args.scale);
  }
  study_finish(running, sums, study_head(args.out, head), row, args.length);
}

template <class C>
void attention_04(KernelDevice& device, const StudyAttention<C>& args) {
  launch(device, "attention_04", study_blocks(args, StudyWarps::threads, sizeof(StudyAttentionBuffers)),
         &attention_04_kernel<C>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
