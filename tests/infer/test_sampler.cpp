#include <hone/infer/sampler.hpp>

#include <doctest/doctest.h>

#include <map>

using namespace hone;

namespace {

/// How often each token comes in `draws` draws from the same logits.
std::map<std::int32_t, int> histogram(const SamplingOptions& options, const std::vector<float>& logits, int draws) {
  Sampler sampler(options);
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.next(logits, {})];
  return counts;
}

}  // namespace

TEST_CASE("temperature 0 takes the largest logit, the first of equals") {
  Sampler sampler({.temperature = 0});
  CHECK(sampler.next({0.5f, 2.0f, 2.0f, -1.0f}, {}) == 1);
}

TEST_CASE("draws follow the softmax at the given temperature") {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    const auto counts = histogram({.temperature = temperature, .top_k = 0, .top_p = 1, .seed = 7}, logits, 20000);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit / temperature);
    for (int id = 0; id < 3; ++id) {
      const double wanted = std::exp(logits[static_cast<std::size_t>(id)] / temperature) / sum;
      CHECK(counts.at(id) / 20000.0 == doctest::Approx(wanted).epsilon(0.1));
    }
  }
}

TEST_CASE("top_k and top_p leave out the rest") {
  const std::vector<float> logits = {1.0f, 3.0f, 2.0f, 0.0f};
  CHECK(histogram({.temperature = 5, .top_k = 2, .top_p = 1}, logits, 500).size() == 2);
  CHECK(histogram({.temperature = 5, .top_k = 1, .top_p = 1}, logits, 100).size() == 1);
  CHECK(histogram({.temperature = 1, .top_k = 0, .top_p = 0.6}, logits, 500).size() == 1);  // p = .64 .24 .09 .03
  CHECK(histogram({.temperature = 1, .top_k = 0, .top_p = 0.85}, logits, 500).size() == 2);
}

TEST_CASE("the repetition penalty pushes down what was said, whatever its sign") {
  Sampler sampler({.temperature = 0, .repetition_penalty = 2});
  const std::vector<std::int32_t> before = {0, 0};
  CHECK(sampler.next({3.0f, 2.0f}, before) == 1);
  CHECK(sampler.next({-1.0f, -1.5f}, before) == 1);
}

TEST_CASE("a seed gives the same text again, another seed another one") {
  const std::vector<float> logits(50, 0.0f);
  const auto text = [&](std::uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.next(logits, ids));
    return ids;
  };
  CHECK(text(1) == text(1));
  CHECK(text(1) != text(2));
}

TEST_CASE("values no sampler can have are refused by name") {
  CHECK_THROWS_AS(Sampler({.temperature = -1}), Error);
  CHECK_THROWS_AS(Sampler({.temperature = std::nan("")}), Error);
  CHECK_THROWS_AS(Sampler({.top_k = -1}), Error);
  CHECK_THROWS_AS(Sampler({.top_p = 0}), Error);
  CHECK_THROWS_AS(Sampler({.repetition_penalty = 0}), Error);
}
