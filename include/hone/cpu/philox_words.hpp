// Philox words for many consecutive elements at once, sixteen blocks side by side. The words are core/philox.hpp's.
#pragma once

#include <hone/core/config.hpp>
#include <hone/core/philox.hpp>

#include <cstdint>

namespace hone::cpu {

inline constexpr std::int64_t philox_chunk = 64;  // words of 16 blocks

struct PhiloxState {
  std::uint32_t c0, c1, c2, c3;
};

/// One round, key k bumped `Round` times. Written out round by round, so that the loop over blocks is the innermost one
/// and becomes vector code.
template <int Round>
HONE_ALWAYS_INLINE void philox_rounds(PhiloxState& s, std::uint32_t k0, std::uint32_t k1) {
  const std::uint64_t a = std::uint64_t{0xD2511F53u} * s.c0, b = std::uint64_t{0xCD9E8D57u} * s.c2;
  const std::uint32_t c0 = static_cast<std::uint32_t>(b >> 32) ^ s.c1 ^ k0;
  const std::uint32_t c2 = static_cast<std::uint32_t>(a >> 32) ^ s.c3 ^ k1;
  s = {c0, static_cast<std::uint32_t>(b), c2, static_cast<std::uint32_t>(a)};
  if constexpr (Round + 1 < 10) philox_rounds<Round + 1>(s, k0 + 0x9E3779B9u, k1 + 0xBB67AE85u);
}

/// words[i] = philox_word(seed, stream, 4 * block + i), i < philox_chunk.
HONE_ALWAYS_INLINE void philox_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t block,
                                     std::uint32_t* HONE_RESTRICT words) {
  for (std::uint32_t l = 0; l < philox_chunk / 4; ++l) {
    const std::uint64_t counter = block + l;
    PhiloxState s{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                  static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
    philox_rounds<0>(s, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
    words[4 * l] = s.c0;
    words[4 * l + 1] = s.c1;
    words[4 * l + 2] = s.c2;
    words[4 * l + 3] = s.c3;
  }
}

}  // namespace hone::cpu
