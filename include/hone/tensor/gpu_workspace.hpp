// Scratch that kernels take on a GPU or its emulator: plain arithmetic, so that a plan for one is made without a
// toolkit. cuda/hone/kernels and the ops read the same functions.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/target.hpp>
#include <hone/tensor/attention_shape.hpp>

#include <algorithm>
#include <cstdint>

namespace hone::gpu {

/// The weight's gradient is summed over rows in two steps: by block into at most this many partial rows, then over
/// those. Enough for two blocks on every multiprocessor of an H100.
inline constexpr std::int64_t rms_norm_most_partials = 256;

/// Bytes RmsNormBackward takes when the weight's gradient is wanted: partial rows in float.
inline std::int64_t rms_norm_workspace_bytes(const Target&, std::int64_t rows, std::int64_t cols) {
  const std::int64_t partials = std::min(rows, rms_norm_most_partials);
  return checked_mul(checked_mul(partials, cols, "[rms_norm] workspace"), std::int64_t{sizeof(float)},
                     "[rms_norm] workspace");
}

/// Bytes QkNormRopeBackward takes when the weight's gradient is wanted: partial rows of head_dim, as RMSNorm's.
inline std::int64_t qk_norm_rope_workspace_bytes(const Target& target, std::int64_t rows, std::int64_t head_dim) {
  return gpu::rms_norm_workspace_bytes(target, rows, head_dim);
}

/// Bytes AttentionForward takes: none, a block keeps its tile and its running softmax on the chip.
inline std::int64_t attention_forward_workspace_bytes(const Target&, const AttentionShape&, std::int64_t) { return 0; }

/// Parts that the keys of one new token may be split into: enough for two blocks on every multiprocessor of an H100,
/// where a block serves up to 8 query heads of a key head.
inline std::int64_t attention_decode_most_splits(const AttentionShape& shape) {
  const std::int64_t blocks = shape.kv_heads * ceil_div(shape.heads / shape.kv_heads, std::int64_t{8});
  return std::max<std::int64_t>(1, 264 / blocks);
}

/// Bytes AttentionDecode takes: the result, maximum and sum of every part, in float, however many keys there are.
inline std::int64_t attention_decode_workspace_bytes(const Target&, const AttentionShape& shape) {
  return checked_mul(checked_mul(attention_decode_most_splits(shape) * shape.heads, shape.head_dim + 2, "[attention]"),
                     std::int64_t{sizeof(float)}, "[attention] workspace");
}

/// Bytes AttentionBackward takes: delta = rowsum(dout * out) of each head, (heads, nq) in float, which both passes
/// (dK and dV, then dQ) read. Each pass owns what it writes, so there are no partial sums.
inline std::int64_t attention_backward_workspace_bytes(const Target&, const AttentionShape& shape, std::int64_t nq) {
  return checked_mul(checked_mul(shape.heads, nq, "[attention] workspace"), std::int64_t{sizeof(float)},
                     "[attention] workspace");
}

}  // namespace hone::gpu
