// How near the next-token distributions of one model are to those of another.
#pragma once

#include <hone/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hone {

/// Over the tokens of a text.
struct Agreement {
  double kl = 0;          ///< mean Kullback-Leibler divergence, reference from other, in nats
  double largest_kl = 0;  ///< of any token
  double top1 = 0;        ///< share of tokens at which both find the same token likeliest
  std::int64_t tokens = 0;
};

namespace detail {

/// log(sum exp) of a row, in double.
template <class S>
double log_sum_exp(std::span<const S> row) {
  const double largest = static_cast<double>(*std::max_element(row.begin(), row.end()));
  double sum = 0;
  for (const S value : row) sum += std::exp(static_cast<double>(value) - largest);
  return largest + std::log(sum);
}

}  // namespace detail

/// Compares rows of logits, (tokens, vocab) each: KL(p || q) = sum over tokens of p (log p - log q), with p the
/// reference's probabilities. Zero where the rows differ by a constant.
template <class S>
Agreement agreement(std::span<const S> reference, std::span<const S> other, std::int64_t tokens, std::int64_t vocab) {
  const auto width = static_cast<std::size_t>(vocab), count = static_cast<std::size_t>(tokens);
  check(tokens >= 1 && vocab >= 1 && reference.size() >= count * width && other.size() >= count * width,
        "[agreement] {} and {} logits for {} tokens of {}", reference.size(), other.size(), tokens, vocab);
  Agreement out{.tokens = tokens};
  for (std::size_t i = 0; i < count; ++i) {
    const auto p = reference.subspan(i * width, width), q = other.subspan(i * width, width);
    const double p_norm = detail::log_sum_exp(p), q_norm = detail::log_sum_exp(q);
    double kl = 0;
    for (std::size_t j = 0; j < width; ++j) {
      const double log_p = static_cast<double>(p[j]) - p_norm;
      kl += std::exp(log_p) * (log_p - (static_cast<double>(q[j]) - q_norm));
    }
    kl = std::max(kl, 0.0);  // rounding may leave a little less than nothing
    out.kl += kl / static_cast<double>(tokens);
    out.largest_kl = std::max(out.largest_kl, kl);
    const bool same =
        std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
    out.top1 += same ? 1 / static_cast<double>(tokens) : 0;
  }
  return out;
}

}  // namespace hone
