// The ladder of attention, rung by rung: causal, head_dim 64.
#pragma once

#include <hone/study/attention_04_pipelined.cuh>
#include <hone/study/rung.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// Rows start on multiples of 16 bytes; any length.
template <class C>
inline constexpr StudyRung<StudyAttention<C>> attention_rungs[] = {&attention_01<C>, &attention_02<C>, &attention_03<C>,
                                                                   &attention_04<C>};

}  // namespace HONE_TARGET
}  // namespace hone
