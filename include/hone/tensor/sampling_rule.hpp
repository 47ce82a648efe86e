// How the next token is chosen from logits, in integers: every device and thread count takes the same token.
//   temperature 0: the largest logit, of equal ones the first
//   else: of the top_k largest the fewest whose weights reach top_p of their sum, and of these one by chance, with
//   weight exp((z - max z) / temperature)
// Weights are rounded to multiples of 2^-30, so that sums of them are exact and their order does not matter; a logit
// 21.5 temperatures below the largest has weight 0.
#pragma once

#include <hone/core/config.hpp>
#include <hone/core/philox.hpp>

#include <cmath>
#include <cstdint>

namespace hone {

/// SamplingOptions (infer/sampler.hpp), and which draw of the seed this is. Plain data.
struct SamplingRule {
  double temperature = 0;
  std::int64_t top_k = 0;  ///< 0: all
  double top_p = 1;
  float repetition_penalty = 1;
  std::uint64_t seed = 0;
  std::uint64_t draw = 0;
};

/// Positive logits of what was seen are divided by the penalty, negative ones multiplied (Keskar et al., 2019).
HONE_HOST_DEVICE inline float penalised(float logit, float penalty) {
  return logit > 0 ? logit / penalty : logit * penalty;
}

/// An integer that grows with the logit: sorting by it is sorting by the logit, -0 and 0 being equal.
HONE_HOST_DEVICE inline std::uint32_t sampling_key(float logit) {
  const auto bits = __builtin_bit_cast(std::uint32_t, logit == 0 ? 0.0f : logit);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/// 2^30 exp((logit - top) / temperature), for logit <= top. exp(-t) = 2^-n exp(-g) where t / ln 2 = n + g / ln 2; the
/// series of exp(-g), g < ln 2, is summed in integers, because two compilers round a float one differently.
HONE_HOST_DEVICE inline std::uint32_t sampling_weight(float logit, float top, double temperature) {
  constexpr std::uint64_t one = std::uint64_t{1} << 32, ln2 = 2977044472;  // 2^32 ln 2
  if (logit == top) return 1u << 30;
  const double halvings = (static_cast<double>(top) - static_cast<double>(logit)) / temperature * 1.4426950408889634;
  if (!(halvings < 31)) return 0;  // true of NaN too
  const auto fixed = static_cast<std::uint64_t>(halvings * 0x1p32);
  const std::uint64_t g = (fixed & (one - 1)) * ln2 >> 32;
  std::uint64_t sum = one;
  for (unsigned k = 11; k > 0; --k) sum = one - (g * sum >> 32) / k;
  return static_cast<std::uint32_t>(sum >> 2 >> (fixed >> 32));
}

/// The smallest sum of weights that is top_p of `sum`, at least 1.
HONE_HOST_DEVICE inline std::uint64_t sampling_nucleus(std::uint64_t sum, double top_p) {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(top_p * static_cast<double>(sum)));
  return wanted < 1 ? 1 : wanted > sum ? sum : wanted;
}

/// The 24 bits of chance of the rule's draw.
constexpr std::uint32_t sampling_bits(const SamplingRule& rule) { return philox_word(rule.seed, 0, rule.draw) >> 8; }

/// A place in [0, sum): sum bits / 2^24, rounded down.
HONE_HOST_DEVICE inline std::uint64_t sampling_point(std::uint64_t sum, std::uint32_t bits) {
  return (sum >> 24) * bits + ((sum & 0xffffffu) * bits >> 24);
}

}  // namespace hone
