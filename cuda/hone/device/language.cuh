// The kernel language. A .cuh that includes this compiles with nvcc for a card and with g++ or clang for the emulator.
// It writes CUDA's own words (__global__, threadIdx, __syncthreads); what would need other words on either side is
// `launch`, `shared_memory<S>()` and the functions of prim/. All of it stands in `inline namespace HONE_TARGET`, so the
// two builds of one kernel are different functions and link into one program.
#pragma once

#if defined(__CUDACC__)
#include <hone/device/language_cuda.cuh>
#else
#include <hone/device/language_emu.hpp>
#endif
