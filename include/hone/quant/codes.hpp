// The tables behind the codes, as bitsandbytes has them to the bit.
#pragma once

#include <hone/quant/dynamic_map.hpp>

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

/// The signed dynamic type, which stores the scales of double quantisation.
inline constexpr std::array<float, 256> dynamic_map = dynamic_values(true);

/// An int8 code is worth this share of its row's largest magnitude: 1 / 127, in bitsandbytes' digits.
inline constexpr float int8_step = 7.874015718698502e-3f;

}  // namespace hone
