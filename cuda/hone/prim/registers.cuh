// Registers of a block, dealt out anew (setmaxnreg, sm_90a): warps that only fetch give up what warps that multiply
// need. All four warps of a warpgroup call with the same number, a multiple of 8 from 24 to 256; who takes waits until
// enough have been given.
#pragma once

#include <hone/device/language.cuh>

#if !defined(__CUDACC__)
#include <hone/emu/wgmma.hpp>
#endif

namespace hone {
inline namespace HONE_TARGET {

#if defined(__CUDACC__)
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// The calling thread goes on with at most `Count` registers, fewer than it had.
template <int Count>
__device__ void give_registers(Where = Where::here()) {
  static_assert(Count >= 24 && Count <= 256 && Count % 8 == 0);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}

/// The calling thread goes on with `Count` registers, more than it had.
template <int Count>
__device__ void take_registers(Where = Where::here()) {
  static_assert(Count >= 24 && Count <= 256 && Count % 8 == 0);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

#endif
#else

template <int Count>
void give_registers(Where where = Where::here()) {
  static_assert(Count >= 24 && Count <= 256 && Count % 8 == 0);
  emulator::deal_registers(Count, where);
}
template <int Count>
void take_registers(Where where = Where::here()) {
  static_assert(Count >= 24 && Count <= 256 && Count % 8 == 0);
  emulator::deal_registers(Count, where);
}

#endif

}  // namespace HONE_TARGET
}  // namespace hone
