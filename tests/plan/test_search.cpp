// Searches over plans: what is traded, in which order, and that the next value up really does not fit.
#include <hone/plan/plan.hpp>
#include <hone/plan/search.hpp>
#include <hone/plan/shard.hpp>
#include <hone/tensor/gpu_state.hpp>

#include <doctest/doctest.h>

#include "plan/small_model.hpp"

using namespace hone;

namespace {

PlanConfig small_run() {
  PlanConfig config;
  config.model = test::small_model();
  config.model.vocab_size = 400;
  config.model.max_position_embeddings = 4096;
  config.step.method = FullTuning{};
  config.batch_size = 4;
  config.max_length = 256;
  return config;
}

const auto peak = [](const PlanConfig& config) { return peak_bytes(config, test::two_threads); };

std::set<std::string> traded(const Fit& fit) {
  std::set<std::string> out;
  for (const Trade& trade : fit.trades) out.insert(trade.key);
  return out;
}

}  // namespace

TEST_CASE("what fits is left alone") {
  const auto wanted = small_run();
  const Fit fit = fit_into(wanted, peak(wanted), {}, peak);
  CHECK(fit.fits);
  CHECK(fit.trades.empty());
  CHECK(fit.bytes == peak(wanted));
}

TEST_CASE("time is traded before results, and every trade says what keeping the setting would need") {
  const auto wanted = small_run();
  const Fit fit = fit_into(wanted, peak(wanted) - 1, {}, peak);
  REQUIRE(fit.fits);
  CHECK(fit.bytes < peak(wanted));
  for (const std::string& key : traded(fit))
    CHECK((key == "batch_size" || key == "gradient_checkpointing" || key == "loss_chunk"));
  CHECK(!fit.trades.empty());
  for (const Trade& trade : fit.trades) CHECK(trade.bytes > fit.bytes);
  CHECK(fit.config.batch_size * fit.config.gradient_accumulation_steps >= 4);
}

TEST_CASE("fixed keys stay, and nothing fits below the leanest run") {
  auto wanted = small_run();
  const FixedKeys all_but_batch = {"method", "dtype", "lora_r", "max_length", "gradient_checkpointing", "loss_chunk"};
  const Fit fit = fit_into(wanted, peak(wanted) - 1, {all_but_batch}, peak);
  REQUIRE(fit.fits);
  CHECK(traded(fit) == std::set<std::string>{"batch_size"});
  wanted.batch_size = 1;
  CHECK(!fit_into(wanted, peak(wanted) - 1, {all_but_batch}, peak).fits);
  CHECK(!fit_into(wanted, 1000, {}, peak).fits);
}

TEST_CASE("the method goes from full to LoRA when full cannot fit, never back") {
  const auto wanted = small_run();
  auto lora = wanted;
  lora.step.method = LoraTuning{{.r = 16, .alpha = 32}};
  lora.batch_size = 1;
  lora.step.recompute = Recompute::full;
  lora.step.loss_chunk = token_multiple;
  const FixedKeys fixed = {"dtype", "max_length"};
  const Fit fit = fit_into(wanted, peak(lora), {fixed}, peak);
  REQUIRE(fit.fits);
  CHECK(traded(fit).contains("method"));
  CHECK(lora_r(fit.config) == 16);
}

TEST_CASE(
    "states and layer inputs move to the host's memory before a result is given up, and only where there is one") {
  const Target card = gpu::cuda_target(90);
  const auto on_card = [&](const PlanConfig& config) { return peak_bytes(config, card); };
  auto leanest = small_run();
  leanest.batch_size = 1;
  leanest.step.recompute = Recompute::full;
  leanest.step.loss_chunk = token_multiple;
  const std::int64_t kept = on_card(leanest);
  leanest.step.offload = {.optimizer = true, .activations = true};
  REQUIRE(on_card(leanest) < kept);

  const Fit fits = fit_into(small_run(), kept, {.offload = true}, on_card);
  REQUIRE(fits.fits);
  CHECK(!fits.config.step.offload.any());  // nothing is copied where recomputing is enough
  auto three_rows = leanest;
  three_rows.step.offload = {};
  three_rows.batch_size = 3;
  const Fit three = fit_into(small_run(), on_card(three_rows), {.offload = true}, on_card);
  CHECK(three.config.batch_size * three.config.gradient_accumulation_steps == 4);
  CHECK(!three.config.step.offload.any());  // nor for a larger batch
  for (const std::int64_t budget : {kept - 1, on_card(leanest)}) {
    const Fit fit = fit_into(small_run(), budget, {.offload = true}, on_card);
    REQUIRE(fit.fits);
    CHECK(fit.bytes == on_card(fit.config));
    CHECK(fit.bytes <= budget);
    CHECK(fit.config.step.offload.any());
    CHECK(traded(fit).contains("offload"));
    CHECK(!traded(fit).contains("method"));
    const Fit without = fit_into(small_run(), budget, {}, on_card);
    CHECK(!without.config.step.offload.any());
    const Fit stated = fit_into(small_run(), budget, {.fixed = {"offload"}, .offload = true}, on_card);
    CHECK(!stated.config.step.offload.any());
  }
  // Inputs wait in the host's memory only where layers are recomputed.
  auto plain = small_run();
  FixedKeys all;
  for (const Setting& setting : memory_settings)
    if (setting.key != "offload") all.insert(std::string(setting.key));
  const Fit moments = fit_into(plain, on_card(plain) - 1, {.fixed = all, .offload = true}, on_card);
  REQUIRE(moments.fits);
  CHECK(moments.config.step.offload == Offload{.optimizer = true});
}

TEST_CASE("maximize gives the last value that fits and the first that does not") {
  auto wanted = small_run();
  wanted.step.method = LoraTuning{{.r = 8, .alpha = 16}};
  const std::int64_t budget = 2 * peak(wanted);
  for (const Growable& setting : growable_settings) {
    CAPTURE(setting.key);
    const Bracket bracket = largest_fitting(wanted, budget, setting, peak);
    REQUIRE(bracket.fits.has_value());
    auto at = wanted;
    setting.set(at, bracket.fits->value);
    CHECK(peak(at) == bracket.fits->bytes);
    CHECK(peak(at) <= budget);
    if (!bracket.too_much) continue;
    CHECK(bracket.too_much->value == bracket.fits->value + 1);
    setting.set(at, bracket.too_much->value);
    CHECK(peak(at) > budget);
  }
  CHECK(!largest_fitting(wanted, 1000, growable("batch_size"), peak).fits.has_value());
  CHECK_THROWS_AS(growable("hidden_size"), Error);
  CHECK_THROWS_AS(largest_fitting(small_run(), budget, growable("lora_r"), peak), Error);
}

TEST_CASE("nearest fits change one key each") {
  const auto wanted = small_run();
  const auto fits = nearest_fits(wanted, peak(wanted) - 1, {{"dtype"}}, peak);
  CHECK(fits.size() >= 3);
  for (const Fit& one : fits) {
    CHECK(one.trades.size() == 1);
    CHECK(one.bytes <= peak(wanted) - 1);
    CHECK(one.trades.front().key != "dtype");
  }
}

TEST_CASE("sharding divides what it says and leaves activations") {
  const auto config = small_run();
  const Plan whole = plan_training<float>(config, test::two_threads);
  CHECK(bytes_per_rank(whole, config, Shard::full, 1) == whole.peak_bytes);
  const std::int64_t optimizer = whole.resident[index_of(Category::optimizer)];
  CHECK(bytes_per_rank(whole, config, Shard::optimizer, 4) == whole.peak_bytes - optimizer + ceil_div(optimizer, 4));
  CHECK(bytes_per_rank(whole, config, Shard::full, 8) < bytes_per_rank(whole, config, Shard::gradients, 8));
  CHECK(ranks_to_fit(whole, config, Shard::full, whole.peak_bytes) == 1);
  CHECK(!ranks_to_fit(whole, config, Shard::none, whole.peak_bytes - 1).has_value());
  const std::int64_t budget = bytes_per_rank(whole, config, Shard::optimizer, 3);
  CHECK(ranks_to_fit(whole, config, Shard::optimizer, budget) == 3);
  CHECK_THROWS_AS(shard_named("zero"), Error);
}
