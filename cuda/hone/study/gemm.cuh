// The ladder of GEMM, rung by rung.
#pragma once

#include <hone/study/gemm_02_coalesced.cuh>
#include <hone/study/gemm_03_shared_tile.cuh>
#include <hone/study/gemm_06_async_swizzle.cuh>
#include <hone/study/gemm_07_wgmma.cuh>
#include <hone/study/rung.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// m is a multiple of 64, n of 128, k of 64; the last rung needs sm_90a.
template <class C>
inline constexpr StudyRung<StudyGemm<C>> gemm_rungs[] = {&gemm_01<C>, &gemm_02<C>, &gemm_03<C>, &gemm_04<C>,
                                                         &gemm_05<C>, &gemm_06<C>, &gemm_07<C>};

}  // namespace HONE_TARGET
}  // namespace hone
