// The dynamic type of 8 bits (Dettmers, 8-Bit Approximations, 2015), with a sign or without one: what 8-bit optimizers
// keep moments in, a block of 256 numbers over its largest magnitude (Dettmers et al., 2022).
#pragma once

#include <hone/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace hone {

/// The 256 values, ascending, with bitsandbytes' bits: the middles of n equal pieces of [0.1, 1] times 1e-6, 1e-5 .. 1,
/// where n doubles from 1 to 64 and each value has its negative, or from 2 to 128; and 0 and 1.
constexpr std::array<float, 256> dynamic_values(bool with_sign) {
  constexpr std::array<float, 7> tens = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  std::array<float, 256> out{};
  std::size_t at = 0;
  for (std::size_t exponent = 0; exponent < tens.size(); ++exponent) {
    const int pieces = (with_sign ? 1 : 2) << exponent;
    const double step = (1.0f - 0.1f) / static_cast<float>(pieces);
    // As torch.linspace rounds: from the nearer end, product and sum at once.
    const auto boundary = [&](int i) {
      return static_cast<float>(i < (pieces + 1) / 2 ? 0.1f + step * i : 1.0 - step * (pieces - i));
    };
    for (int i = 0; i < pieces; ++i) {
      const float value = tens[exponent] * ((boundary(i) + boundary(i + 1)) / 2);
      out[at++] = value;
      if (with_sign) out[at++] = -value;
    }
  }
  out[at++] = 0.0f;
  out[at++] = 1.0f;
  std::sort(out.begin(), out.end());
  return out;
}

/// The values as kernels read them, and where one code ends and the next begins: code i is the nearest to x in
/// (bounds[i], bounds[i + 1]], for the lower code has the middle itself.
struct DynamicMap {
  float values[256];
  float bounds[257];
};

constexpr DynamicMap dynamic_map_of(bool with_sign) {
  DynamicMap out{};
  const auto values = dynamic_values(with_sign);
  for (std::size_t i = 0; i < 256; ++i) out.values[i] = values[i];
  out.bounds[0] = -std::numeric_limits<float>::infinity();
  for (std::size_t i = 1; i < 256; ++i) out.bounds[i] = (values[i - 1] + values[i]) / 2;
  out.bounds[256] = std::numeric_limits<float>::infinity();
  return out;
}

/// Numbers that share a largest magnitude.
inline constexpr std::int64_t dynamic_block = 256;

/// The code of the value nearest to x in [-1, 1], or in [0, 1]. A guess by arithmetic is at most one code off; the
/// bounds decide.
template <bool WithSign>
HONE_HOST_DEVICE HONE_ALWAYS_INLINE int nearest_dynamic_code(const float* bounds, float x) {
  const float magnitude = WithSign && x < 0 ? -x : x;
  // [low, 10 low) holds `pieces` values, and as many, give or take one, are smaller.
  float low = 1e-7f, one_over_low = 1e7f, pieces = WithSign ? 1.0f : 2.0f;
  for (int ten = 0; ten < 6; ++ten) {
    const bool above = magnitude >= 10 * low;
    low = above ? 10 * low : low;
    one_over_low = above ? 0.1f * one_over_low : one_over_low;
    pieces = above ? 2 * pieces : pieces;
  }
  const float within = (magnitude * one_over_low - 1) * pieces * (1.0f / 9);
  const int smaller = static_cast<int>(pieces) - (WithSign ? 0 : 1);
  int rank = magnitude >= 1e-7f ? smaller + static_cast<int>(within) : 0;
  rank = rank < 0 ? 0 : rank;
  constexpr int zero = WithSign ? 127 : 0, most = WithSign ? 128 : 255;
  rank = rank > most ? most : rank;
  int code = WithSign && x < 0 ? zero - rank : zero + rank;
  code = code < 0 ? 0 : code;
  const int above = bounds[code + 1] < x ? 1 : 0, below = bounds[code] >= x ? 1 : 0;
  return code + above - below;
}

/// What a block's numbers are multiplied by before they are coded, as bitsandbytes does.
HONE_HOST_DEVICE HONE_ALWAYS_INLINE float one_over_absmax(float absmax) {
  return 1.0f / (absmax > 1e-38f ? absmax : 1e-38f);
}

}  // namespace hone
