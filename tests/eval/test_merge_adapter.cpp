#include <hone/eval/merge_adapter.hpp>

#include <doctest/doctest.h>

#include "models/golden.hpp"
#include "support/files.hpp"
#include "support/random.hpp"

using namespace hone;
using hone::test::contains;
using hone::test::Golden;
using hone::test::message_of;

TEST_CASE("agreement: KL and the likeliest token, from their definitions") {
  // Rows of log-probabilities: p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4); then equal up to a constant.
  const std::vector<double> p = {std::log(0.5), std::log(0.25), std::log(0.25), 1, 2, 3};
  const std::vector<double> q = {std::log(0.25), std::log(0.5), std::log(0.25), 11, 12, 13};
  const auto got = agreement(std::span<const double>(p), std::span<const double>(q), 2, 3);
  const double kl = 0.5 * std::log(2.0) + 0.25 * std::log(0.5);
  CHECK(got.kl == doctest::Approx(kl / 2));
  CHECK(got.largest_kl == doctest::Approx(kl));
  CHECK(got.top1 == doctest::Approx(0.5));
  CHECK(got.tokens == 2);
  CHECK_THROWS_WITH_AS(agreement(std::span<const double>(p), std::span<const double>(q), 3, 3),
                       "[agreement] 6 and 6 logits for 3 tokens of 3", Error);
}

namespace {

constexpr std::int64_t tokens = 12;

Batch text() {
  Example one;
  for (std::int32_t i = 0; i < tokens; ++i) one.ids.push_back((7 * i + 3) % 96);
  one.supervised.assign(one.ids.size(), true);
  return make_batch(std::span<const Example>(&one, 1));
}

std::vector<float> logits_of(const std::filesystem::path& folder, const std::filesystem::path& adapter = {}) {
  auto model = load_llama<float>(folder);
  if (!adapter.empty()) load_adapter(model, adapter);
  auto out = model.logits(text()).to_vector();
  out.resize(static_cast<std::size_t>(tokens * 96));
  return out;
}

}  // namespace

TEST_CASE("merge_adapter: onto the base, the dequantised base, and quantised again, each with its agreement") {
  const Golden golden("llama2");
  const test::TemporaryFolder folder;
  const auto adapter = golden.folder() / "adapter";
  const MergeOptions plain{};
  const auto rows = merge_adapter<float>(golden.folder(), adapter, folder / "plain", Cpu{}, plain, text(), tokens);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].written);
  CHECK(rows[0].agreement.kl <= 1e-9);
  CHECK(rows[0].agreement.top1 == doctest::Approx(1.0));
  CHECK(test::largest_difference(logits_of(folder / "plain"), logits_of(golden.folder(), adapter)) <= 1e-5);

  // Trained over NF4: the adapter on that base is the reference.
  const Quantisation nf4{};
  for (const MergeOnto onto : {MergeOnto::base, MergeOnto::dequantised, MergeOnto::requantised}) {
    const auto out = folder / std::string(name_of(onto));
    const auto all =
        merge_adapter<float>(golden.folder(), adapter, out, Cpu{}, {.onto = onto, .quantization = nf4}, text(), tokens);
    REQUIRE(all.size() == 3);
    for (const MergeRow& row : all) CHECK(row.written == (row.onto == onto));
    CHECK(all[1].agreement.kl <= 1e-9);  // dequantised: the very weights it trained on
    CHECK(all[0].agreement.kl > 1e-4);   // the base lacks NF4's errors,
    CHECK(all[2].agreement.kl > 1e-4);   // and the sum is rounded to NF4 again
    CHECK(all[2].agreement.largest_kl >= all[2].agreement.kl);
    CHECK_FALSE(std::filesystem::exists(out.string() + ".dense"));
    CHECK(read_llama_config(out / "config.json").quantization.has_value() == (onto == MergeOnto::requantised));
  }
  // What is written is what was compared.
  auto on_base = [&] {
    LlamaConfig config = read_llama_config(golden.folder() / "config.json");
    config.quantization = nf4;
    auto model = load_llama<float>(golden.folder(), Cpu{}, config);
    load_adapter(model, adapter);
    auto out = model.logits(text()).to_vector();
    out.resize(static_cast<std::size_t>(tokens * 96));
    return out;
  }();
  CHECK(test::largest_difference(logits_of(folder / "dequantised"), on_base) <= 1e-4);
  // A folder that is stored quantised has no other base.
  const auto again =
      message_of([&] { merge_adapter<float>(folder / "requantised", adapter, folder / "x", Cpu{}, plain); });
  CHECK(contains(again, "[merge] cannot merge onto the base weights of"));
  CHECK(contains(again, "they are stored quantised"));
  CHECK(contains(message_of([&] {
                   merge_adapter<float>(golden.folder(), adapter, folder / "x", Cpu{},
                                        {.onto = MergeOnto::requantised});
                 }),
                 "the base is not quantised"));
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}
