// Choosing the next token: repetition penalty, temperature, top-k, top-p, then one seeded draw; or simply the largest.
#pragma once

#include <hone/core/error.hpp>
#include <hone/core/philox.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
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
};

/// Draws one token after the other. The n-th draw of a seed is the same on every machine.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options) { options.validate(); }

  /// The next token given its logits and all tokens before it (prompt included, for the repetition penalty).
  std::int32_t next(std::vector<float> logits, std::span<const std::int32_t> before) {
    check(!logits.empty(), "[sampler] there are no logits");
    penalise(logits, before);
    if (options_.temperature == 0)
      return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    return draw(logits);
  }

 private:
  struct Candidate {
    double weight;
    std::int32_t id;
  };

  void penalise(std::vector<float>& logits, std::span<const std::int32_t> before) const {
    if (options_.repetition_penalty == 1.0) return;
    std::vector<std::int32_t> seen(before.begin(), before.end());
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    for (const std::int32_t id : seen) {
      if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
      float& logit = logits[static_cast<std::size_t>(id)];
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }

  std::int32_t draw(const std::vector<float>& logits) {
    auto candidates = largest(logits);
    const double top = candidates.front().weight;
    double sum = 0;
    for (Candidate& candidate : candidates)
      sum += candidate.weight = std::exp((candidate.weight - top) / options_.temperature);
    keep_top_p(candidates, sum);
    sum = std::accumulate(candidates.begin(), candidates.end(), 0.0,
                          [](double total, const Candidate& c) { return total + c.weight; });
    const double point = sum * static_cast<double>(uniform_closed_open(philox_word(options_.seed, 0, draws_++)));
    double reached = 0;
    for (const Candidate& candidate : candidates)
      if ((reached += candidate.weight) > point) return candidate.id;
    return candidates.back().id;
  }

  /// The top_k largest logits, largest first; equal ones by id.
  std::vector<Candidate> largest(const std::vector<float>& logits) const {
    std::vector<Candidate> out;
    out.reserve(logits.size());
    for (std::size_t id = 0; id < logits.size(); ++id)
      out.push_back({static_cast<double>(logits[id]), static_cast<std::int32_t>(id)});
    const auto before = [](const Candidate& a, const Candidate& b) {
      return a.weight > b.weight || (a.weight == b.weight && a.id < b.id);
    };
    const std::size_t keep =
        options_.top_k == 0 ? out.size() : std::min(out.size(), static_cast<std::size_t>(options_.top_k));
    std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(keep), out.end(), before);
    out.resize(keep);
    return out;
  }

  /// The fewest candidates whose probabilities reach top_p, at least one.
  void keep_top_p(std::vector<Candidate>& candidates, double sum) const {
    if (options_.top_p >= 1) return;
    double reached = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      reached += candidates[i].weight;
      if (reached < options_.top_p * sum) continue;
      candidates.resize(i + 1);
      return;
    }
  }

  SamplingOptions options_;
  std::uint64_t draws_ = 0;
};

}  // namespace hone
