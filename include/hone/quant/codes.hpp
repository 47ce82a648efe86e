// The tables behind the codes, as bitsandbytes has them to the bit.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace hone {

/// NF4: 16 quantiles of N(0, 1), scaled to [-1, 1], 0 among them (Dettmers et al., 2023, appendix E).
inline constexpr std::array<float, 16> nf4_table = {-1.0f,
                                                    -0.6961928009986877f,
                                                    -0.5250730514526367f,
                                                    -0.39491748809814453f,
                                                    -0.28444138169288635f,
                                                    -0.18477343022823334f,
                                                    -0.09105003625154495f,
                                                    0.0f,
                                                    0.07958029955625534f,
                                                    0.16093020141124725f,
                                                    0.24611230194568634f,
                                                    0.33791524171829224f,
                                                    0.44070982933044434f,
                                                    0.5626170039176941f,
                                                    0.7229568362236023f,
                                                    1.0f};

/// Where one code ends and the next begins: halfway, the lower code has the middle itself.
inline constexpr std::array<float, 15> nf4_bounds = [] {
  std::array<float, 15> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = (nf4_table[i] + nf4_table[i + 1]) / 2;
  return out;
}();

/// The 256 values of the signed dynamic type (Dettmers, 8-Bit Approximations, 2015), ascending: the middles of 1, 2, 4
/// .. 64 equal pieces of [0.1, 1] times 1e-6, 1e-5 .. 1, both signs, and 0 and 1. It stores the scales of double
/// quantisation.
inline constexpr std::array<float, 256> dynamic_map = [] {
  constexpr std::array<float, 7> tens = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  std::array<float, 256> out{};
  std::size_t at = 0;
  for (std::size_t exponent = 0; exponent < tens.size(); ++exponent) {
    const int pieces = 1 << exponent;
    const double step = (1.0f - 0.1f) / static_cast<float>(pieces);
    // As torch.linspace rounds: from the nearer end, product and sum at once.
    const auto boundary = [&](int i) {
      return static_cast<float>(i < (pieces + 1) / 2 ? 0.1f + step * i : 1.0 - step * (pieces - i));
    };
    for (int i = 0; i < pieces; ++i) {
      const float value = tens[exponent] * ((boundary(i) + boundary(i + 1)) / 2);
      out[at++] = value;
      out[at++] = -value;
    }
  }
  out[at++] = 0.0f;
  out[at++] = 1.0f;
  std::sort(out.begin(), out.end());
  return out;
}();

/// An int8 code is worth this share of its row's largest magnitude: 1 / 127, in bitsandbytes' digits.
inline constexpr float int8_step = 7.874015718698502e-3f;

}  // namespace hone
