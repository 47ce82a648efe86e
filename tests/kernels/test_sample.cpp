#include "every_device.hpp"

#include <hone/cpu/sample.hpp>
#include <hone/infer/sampler.hpp>
#include <hone/kernels/sample.cuh>
#include <hone/ops/sample.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <numeric>

using namespace hone;
using namespace hone::test;

namespace {

using Logits = std::vector<float>;

/// The rule in one piece: everything sorted, then cut, then walked. Of 64 bits, like the weights.
std::int32_t reference(const Logits& logits, const SamplingRule& rule) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (rule.temperature == 0) return static_cast<std::int32_t>(order.front());
  if (rule.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(rule.top_k)));
  const auto weight = [&](std::size_t i) {
    return sampling_weight(logits[order[i]], logits[order.front()], rule.temperature);
  };
  std::uint64_t sum = 0, kept = 0;
  for (std::size_t i = 0; i < order.size(); ++i) sum += weight(i);
  const std::uint64_t wanted = rule.top_p < 1 ? sampling_nucleus(sum, rule.top_p) : sum;
  for (std::size_t i = 0; kept < wanted; ++i) kept += weight(i);
  const std::uint64_t point = sampling_point(kept, sampling_bits(rule));
  std::size_t i = 0;
  for (std::uint64_t reached = weight(0); reached <= point; reached += weight(i)) ++i;
  return static_cast<std::int32_t>(order[i]);
}

/// Logits between -8 and 8, of which many are equal where `steps` is small.
Logits some_logits(std::int64_t count, int steps, std::uint64_t seed) {
  Logits out;
  for (const double value : random_values(count, seed))
    out.push_back(static_cast<float>(std::round(value * steps) * 8 / steps));
  return out;
}

/// `draws` tokens from the same logits, each seen before the next one.
template <class D>
std::vector<double> chosen(const Logits& logits, const SamplingRule& rule, int draws) {
  return in_every_order<D>([&] {
    const D device = poisoned_device<D>();
    const auto count = static_cast<std::int64_t>(logits.size());
    TokenChoice<D> choice(device, count, rule, std::vector<std::int32_t>{1, 3});
    // A column slice whose row begins off a multiple of 16 bytes where the row has an odd length.
    const auto all = Tensor<float, D>::empty(device, {1, count + count % 2});
    const auto row = all.columns(count % 2, count);
    row.copy_from(logits);
    std::vector<double> out;
    for (int i = 0; i < draws; ++i) out.push_back(choice.next(row));
    return out;
  });
}

/// The same by the reference.
std::vector<double> wanted(const Logits& logits, SamplingRule rule, int draws) {
  std::vector<bool> seen(logits.size(), false);
  seen[1] = seen[3] = true;
  std::vector<double> out;
  for (int i = 0; i < draws; ++i, ++rule.draw) {
    Logits now = logits;
    for (std::size_t id = 0; id < now.size(); ++id)
      if (seen[id]) now[id] = penalised(now[id], rule.repetition_penalty);
    const std::int32_t id = reference(now, rule);
    seen[static_cast<std::size_t>(id)] = true;
    out.push_back(id);
  }
  return out;
}

}  // namespace

TEST_CASE_TEMPLATE("sampling follows the rule, token by token", D, Cpu, Emu) {
  const std::vector<SamplingRule> rules = {
      {.temperature = 0, .repetition_penalty = 1.5f},
      {.temperature = 0.7, .top_k = 5, .top_p = 0.9, .repetition_penalty = 1.2f, .seed = 42},
      {.temperature = 5, .top_k = 0, .top_p = 1, .seed = 1},
      {.temperature = 3, .top_k = 0, .top_p = 0.8, .seed = 2},
      {.temperature = 100, .top_k = 300, .top_p = 1, .seed = 3},  // as many as there are, or more
      {.temperature = 1e-3, .top_k = 50, .top_p = 0.5, .seed = 4},
  };
  for (const SamplingRule& rule : rules) {
    CAPTURE(rule.seed);
    const std::vector<std::pair<int, int>> sizes = {{300, 1000}, {301, 4}, {5, 1000}};
    for (const auto& size : sizes) {
      CAPTURE(size.first);
      const Logits logits = some_logits(size.first, size.second, rule.seed + 7);
      CHECK(chosen<D>(logits, rule, 4) == wanted(logits, rule, 4));
    }
  }
}

TEST_CASE_TEMPLATE("sampling: equal logits are told apart by their number", D, Cpu, Emu) {
  const Logits logits(37, -2.5f);
  for (const std::int64_t top_k : {0, 10}) {
    const SamplingRule rule{.temperature = 1, .top_k = top_k, .top_p = 0.5, .seed = 9};
    CHECK(chosen<D>(logits, rule, 6) == wanted(logits, rule, 6));
  }
  CHECK(chosen<D>({0.0f, -0.0f, -1.0f, 0.0f}, {.temperature = 0}, 1) == std::vector<double>{0});
}

TEST_CASE_TEMPLATE("sampling: infinities and what is not a number", D, Cpu, Emu) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(chosen<D>({1, -inf, 2, -inf}, {.temperature = 1, .seed = 3}, 3) ==
        wanted({1, -inf, 2, -inf}, {.temperature = 1, .seed = 3}, 3));
  CHECK(chosen<D>({1, inf, 2, 0}, {.temperature = 1}, 2) == std::vector<double>{1, 1});
  CHECK(chosen<D>({1, 2, nan, 0}, {.temperature = 1, .top_k = 2, .top_p = 0.5}, 1) == std::vector<double>{2});
}

TEST_CASE("sampling weights are exp, to a few parts in 2^30") {
  for (const double x : {0.0, 0.001, 0.3, 0.7, 1.0, 5.5, 20.0}) {
    const double got = sampling_weight(static_cast<float>(-x), 0, 1.0) * 0x1p-30;
    CHECK(std::abs(got - std::exp(-static_cast<double>(static_cast<float>(x)))) < 4 * 0x1p-30);
  }
  CHECK(sampling_weight(-21.6f, 0, 1.0) == 0);
  CHECK(sampling_weight(-1.0f, 0, 1e-300) == 0);
}

TEST_CASE("sampling on Emu: a row of another length is an error that says so") {
  const Emu device;
  TokenChoice<Emu> choice(device, 8, {}, {});
  CHECK_THROWS_WITH_AS(choice.next(Tensor<float, Emu>::empty(device, {1, 9})), "[sample] logits (1, 9) must be (1, 8)",
                       Error);
}
