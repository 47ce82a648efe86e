// Scratch of the RMSNorm kernels, for plans that are made without a toolkit.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/target.hpp>

#include <algorithm>
#include <cstdint>

namespace hone::gpu {

/// The weight's gradient is summed over rows in two steps: by block into at most this many partial rows, then over
/// those. Enough for two blocks on every multiprocessor of an H100.
inline constexpr std::int64_t rms_norm_most_partials = 256;

/// Bytes RmsNormBackward takes on a GPU (or its emulator) when the weight's gradient is wanted.
inline std::int64_t rms_norm_workspace_bytes(const Target&, std::int64_t rows, std::int64_t cols) {
  const std::int64_t partials = std::min(rows, rms_norm_most_partials);
  return checked_mul(checked_mul(partials, cols, "[rms_norm] workspace"), std::int64_t{sizeof(float)},
                     "[rms_norm] workspace");
}

}  // namespace hone::gpu
