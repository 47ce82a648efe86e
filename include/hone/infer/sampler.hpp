// Choosing the next token: repetition penalty, temperature, top-k, top-p, then one seeded draw; or simply the largest.
#pragma once

#include <hone/core/error.hpp>
#include <hone/cpu/sample.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace hone {

/// Names as transformers' GenerationConfig has them.
struct SamplingOptions {
  double temperature = 0.7;         ///< 0 = greedy
  std::int64_t top_k = 50;          ///< 0 = all
  double top_p = 0.9;               ///< 1 = all
  double repetition_penalty = 1.0;  ///< 1 = none (Keskar et al., 2019)
  std::uint64_t seed = 42;

  void validate() const {
    check(std::isfinite(temperature) && temperature >= 0, "temperature: {} must be 0 (greedy) or a positive number",
          temperature);
    check(top_k >= 0, "top_k: {} must not be negative", top_k);
    check(top_p > 0 && top_p <= 1, "top_p: {} must lie in (0, 1]", top_p);
    check(std::isfinite(repetition_penalty) && repetition_penalty > 0,
          "repetition_penalty: {} must be a positive number", repetition_penalty);
  }

  /// What kernels are told; its first draw is number 0.
  SamplingRule rule() const {
    validate();
    return {.temperature = temperature,
            .top_k = top_k,
            .top_p = top_p,
            .repetition_penalty = static_cast<float>(repetition_penalty),
            .seed = seed};
  }
};

/// Draws one token after the other from logits in the host's memory, as TokenChoice (ops/sample.hpp) does on a device.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : rule_(options.rule()) {}

  /// The next token given its logits and all tokens before it (prompt included, for the repetition penalty).
  std::int32_t next(std::vector<float> logits, std::span<const std::int32_t> before) {
    check(!logits.empty(), "[sampler] there are no logits");
    std::vector<bool> seen(logits.size());
    for (const std::int32_t id : before)
      if (id >= 0 && static_cast<std::size_t>(id) < seen.size()) seen[static_cast<std::size_t>(id)] = true;
    for (std::size_t id = 0; id < seen.size() && rule_.repetition_penalty != 1; ++id)
      if (seen[id]) logits[id] = penalised(logits[id], rule_.repetition_penalty);
    scratch_.resize(logits.size());
    const auto logit = [&](std::int64_t i) { return logits[static_cast<std::size_t>(i)]; };
    const auto id = cpu::sample(static_cast<std::int64_t>(logits.size()), logit, rule_, scratch_);
    ++rule_.draw;
    return id;
  }

 private:
  SamplingRule rule_;
  std::vector<cpu::SampleCandidate> scratch_;
};

}  // namespace hone
