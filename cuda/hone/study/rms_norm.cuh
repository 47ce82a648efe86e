// The ladder of RMSNorm, rung by rung.
#pragma once

#include <hone/study/rms_norm_02_block_a_row.cuh>
#include <hone/study/rms_norm_03_warp_a_row.cuh>
#include <hone/study/rung.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// Rows start on multiples of 16 bytes and hold whole vectors.
template <class T>
inline constexpr StudyRung<StudyRmsNorm<T>> rms_norm_rungs[] = {&rms_norm_01<T>, &rms_norm_02<T>, &rms_norm_03<T>};

}  // namespace HONE_TARGET
}  // namespace hone
