// Philox words for many consecutive elements at once, sixteen blocks side by side. The words are core/philox.hpp's.
#pragma once

#include <hone/core/config.hpp>
#include <hone/core/philox.hpp>

#include <cstdint>

namespace hone::cpu {

inline constexpr std::int64_t philox_chunk = 64;  // words of 16 blocks

/// words[i] = philox_word(seed, stream, 4 * block + i), i < philox_chunk.
HONE_ALWAYS_INLINE void philox_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t block,
                                     std::uint32_t* HONE_RESTRICT words) {
  constexpr int blocks = 16;
  std::uint32_t c0[blocks], c1[blocks], c2[blocks], c3[blocks];
  for (int l = 0; l < blocks; ++l) {
    const std::uint64_t counter = block + static_cast<std::uint64_t>(l);
    c0[l] = static_cast<std::uint32_t>(counter);
    c1[l] = static_cast<std::uint32_t>(counter >> 32);
    c2[l] = static_cast<std::uint32_t>(stream);
    c3[l] = static_cast<std::uint32_t>(stream >> 32);
  }
  auto key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < blocks; ++l) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0[l], b = std::uint64_t{0xCD9E8D57u} * c2[l];
      c0[l] = static_cast<std::uint32_t>(b >> 32) ^ c1[l] ^ key0;
      c1[l] = static_cast<std::uint32_t>(b);
      c2[l] = static_cast<std::uint32_t>(a >> 32) ^ c3[l] ^ key1;
      c3[l] = static_cast<std::uint32_t>(a);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int l = 0; l < blocks; ++l) {
    words[4 * l] = c0[l];
    words[4 * l + 1] = c1[l];
    words[4 * l + 2] = c2[l];
    words[4 * l + 3] = c3[l];
  }
}

}  // namespace hone::cpu
