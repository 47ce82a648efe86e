// Which instruction sets this processor and operating system offer, read from CPUID at run time.
#pragma once

#include <hone/core/config.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#if HONE_X86
#include <cpuid.h>
#endif

namespace hone {

/// A path through the CPU kernels. Results are bit-equal within a path, not between paths.
enum class Isa : std::uint8_t { portable, avx2, avx512 };

constexpr std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "?";
}

namespace detail {

#if HONE_X86
inline std::uint64_t read_xcr0() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

inline Isa detect_isa() {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return Isa::portable;
  const bool os_saves_registers = (c >> 27) & 1u, fma = (c >> 12) & 1u, f16c = (c >> 29) & 1u;
  if (!os_saves_registers || !fma || !f16c) return Isa::portable;
  const std::uint64_t saved = read_xcr0();
  if ((saved & 0x6u) != 0x6u || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return Isa::portable;
  const bool avx2 = (b >> 5) & 1u;
  if (!avx2) return Isa::portable;
  const bool f = (b >> 16) & 1u, dq = (b >> 17) & 1u, bw = (b >> 30) & 1u, vl = (b >> 31) & 1u;
  return (saved & 0xe0u) == 0xe0u && f && dq && bw && vl ? Isa::avx512 : Isa::avx2;
}
#else
inline Isa detect_isa() { return Isa::portable; }
#endif

}  // namespace detail

/// The best path of this machine. HONE_ISA=portable|avx2|avx512 in the environment lowers it, never raises it.
inline Isa best_isa() {
  static const Isa isa = [] {
    const Isa found = detail::detect_isa();
    const char* wish = std::getenv("HONE_ISA");
    if (wish == nullptr) return found;
    for (const Isa path : {Isa::portable, Isa::avx2, Isa::avx512})
      if (std::string_view(wish) == name_of(path) && path < found) return path;
    return found;
  }();
  return isa;
}

}  // namespace hone
