// Every macro of hone lives here: version, compiler attributes, and the settings third-party headers must see first.
#pragma once

#define HONE_VERSION_MAJOR 0
#define HONE_VERSION_MINOR 1
#define HONE_VERSION_PATCH 0
#define HONE_VERSION "0.1.0"

// fmt is header-only in the engine, so that a program that includes hone links nothing. fmt 9 chooses consteval format
// strings, which nvcc with g++ 12 rejects; the constexpr path compiles everywhere.
#ifndef FMT_HEADER_ONLY
#define FMT_HEADER_ONLY 1
#endif
#if defined(__CUDACC__) && !defined(FMT_USE_CONSTEXPR)
#define FMT_USE_CONSTEXPR 1
#endif

// Functions that may use an instruction set the rest of the program is not compiled for. They are reached only through
// a table filled after CPUID has been read (core/isa.hpp); no __AVX*__ macro ever chooses a body.
#if defined(__x86_64__)
#define HONE_X86 1
#define HONE_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define HONE_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#else
#define HONE_X86 0
#endif

#define HONE_RESTRICT __restrict__
