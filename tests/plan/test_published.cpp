// Every figure the source articles and the field's tables print about memory or parameter counts, beside ours. The
// verdict in the file must be the one that comes out.
#include <hone/io/read_file.hpp>
#include <hone/plan/published.hpp>

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "tools/hone/published_file.hpp"

using namespace hone;
using hone::cli::published_figures;

namespace {

const std::vector<PublishedFigure>& figures() {
  static const auto all = [] {
    const std::string path = HONE_SOURCE_DIR "/tools/hone/facts/published_memory.json";
    return published_figures(read_file(path), path);
  }();
  return all;
}

const PublishedFigure& figure(std::string_view what) {
  for (const auto& one : figures())
    if (one.what == what) return one;
  fail("no published figure is called '{}'", what);
}

std::vector<PublishedFigure> read_row(const std::string& members) {
  return published_figures(R"({"sources": {"s": {"name": "S"}}, "groups": [{"source": "s", "figures": [{)"
                           R"("what": "w", "because": "b", "verdict": "matches", )" +
                               members + "}]}]}",
                           "x.json");
}

}  // namespace

TEST_CASE("the verdict on every published figure holds, and every difference has its reason") {
  for (const PublishedFigure& one : figures()) {
    CAPTURE(one.source);
    CAPTURE(one.what);
    const auto comparison = compare(one);
    CAPTURE(comparison.ours.value_or(-1));
    CHECK(comparison.verdict_holds);
    CHECK(comparison.agreements_hold);
    CHECK(!one.because.empty());
    CHECK((one.verdict == Verdict::not_planned_yet) == !one.needs.empty());
    CHECK(comparison.ours.has_value() == one.needs.empty());
  }
}

TEST_CASE("no published figure is lost: the rows of each source") {
  std::map<std::string, int> rows;
  for (const PublishedFigure& one : figures()) ++rows[one.source.substr(0, one.source.rfind(','))];
  // 7B's four terms and their sum on two sets of cards, three sizes, their six sets of cards, two counts
  CHECK(rows["article 002"] == 6 + 3 + 6 + 2);
  CHECK(rows["article 000"] == 2);
  CHECK(rows["article 003"] == 4 + 2);
  CHECK(rows["article 004"] == 11);
  CHECK(rows["articles 000/002/004"] == 2);
  CHECK(rows["LLaMA-Factory"] == 6 * 5 + 5 * 5 + 5 + 2 * 8);  // today's table, last year's, and the wiki's two
  CHECK(rows["unsloth"] == 13 * 2 + 2);                       // what a model wants, 16 bit and 4; the longest contexts
  CHECK(rows["torchtune"] == 8 + 10 + 7);                     // README, ladder, tutorials
  CHECK(rows["axolotl"] == 3);
  CHECK(rows["llmq"] == 7);
}

TEST_CASE("the figures that are most often repeated come out as the arithmetic says") {
  const auto ours = [](std::string_view what) { return *compare(figure(what)).ours; };
  CHECK(ours("RoBERTa-base, LoRA 0.3M") == 294'912);
  CHECK(ours("GPT-3, LoRA 4.7M") == 4'718'592);
  CHECK(ours("CodeLlama-13B, LoRA r=8 on q and v, \"13M\"") == 6'553'600);
  CHECK(ours("LoRA of r=16 on a 4096 x 4096 matrix") == 0.0078125);
  CHECK(ours("4-bit saves 80 %, without double quantisation") == 0.71875);
  CHECK(ours("4-bit saves 80 %, with double quantisation") == doctest::Approx(0.742).epsilon(0.001));
  CHECK(ours("13B fp32, 1:1:6 in total") < 0.51 * 416e9);
  CHECK(ours("7B fp32, optimizer") == doctest::Approx(8 * 6738415616.0).epsilon(1e-4));
  CHECK(nf4_weight_bytes(known_model("llama-3.1-8b"), true) == doctest::Approx(5.70e9).epsilon(0.001));
  CHECK(ours("deployment quantised, 4.2 GB (an 8B)") == doctest::Approx(6.028e9).epsilon(0.001));
  CHECK(ours("Llama 3.1 8B, QLoRA, 1x 4090") == doctest::Approx(7.357 * 1073741824).epsilon(0.001));
}

TEST_CASE("a verdict that does not hold is noticed, and so is a run it should agree with") {
  auto one = figure("13B fp32, 1:1:6 in total");
  REQUIRE(compare(one).verdict_holds);
  one.verdict = Verdict::matches;
  CHECK(!compare(one).verdict_holds);
  one.verdict = Verdict::not_planned_yet;
  CHECK(!compare(one).verdict_holds);
  one.agrees_with.front().bytes_per_parameter = 16;
  CHECK(!compare(one).agreements_hold);
}

TEST_CASE("a figure outside its range is held against the nearer end") {
  auto one =
      read_row(R"("model": "roberta-base", "quantity": "parameters", "unit": "M parameters", "low": 200)").front();
  CHECK(compare(one).ratio == doctest::Approx(124.645632 / 200));
  one.high = 100;
  one.low = 50;
  CHECK(compare(one).ratio == doctest::Approx(1.24645632));
  one.high = 150;
  CHECK(compare(one).ratio == 1);
}

TEST_CASE("rows that say nothing or the wrong thing are refused by their key") {
  const auto refuses = [](const std::string& members, const std::string& message) {
    CAPTURE(members);
    CHECK_THROWS_WITH_AS(read_row(members), doctest::Contains(message.c_str()), Error);
  };
  refuses(R"("modle": "llama-2-7b")", "\"modle\" is not a key of a published figure");
  refuses(R"("quantity": "speed")", "\"quantity\" is 'speed'");
  refuses(R"("gradient_checkpointing": "some")", "\"gradient_checkpointing\" is 'some'");
  refuses(R"("cards": 2)", "\"cards\" and \"gpu\" belong together");
  refuses(R"("lora_r": 0)", "\"lora_r\" is 0");
  CHECK_THROWS_WITH_AS(compare(read_row(R"("unit": "GBB", "value": 1)").front()), doctest::Contains("unit 'GBB'"),
                       Error);
  CHECK_THROWS_WITH_AS(compare(read_row(R"("value": 1, "method": "dora", "model": "llama-2-7b")").front()),
                       doctest::Contains("method 'dora'"), Error);
}
