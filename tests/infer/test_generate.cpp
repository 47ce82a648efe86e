// The real checkpoint: a trained Llama of 260K parameters against llama2.c's numbers.
#include <hone/eval/perplexity.hpp>
#include <hone/infer/generate.hpp>
#include <hone/io/read_file.hpp>
#include <hone/models/generation_config.hpp>
#include <hone/models/llama_folder.hpp>

#include "models/golden.hpp"
#include "support/data.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <sstream>

using namespace hone;

namespace {

std::optional<std::filesystem::path> stories(const char* test) {
  const auto data = test::shared_data();
  if (data && std::filesystem::exists(*data / "stories260K")) return *data / "stories260K";
  test::skip(test, "the stories260K checkpoint is not here (tools/fetch_real gets it)");
  return std::nullopt;
}

std::vector<std::int32_t> read_ids(const std::filesystem::path& path) {
  std::istringstream text(read_file(path));
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; text >> id;) ids.push_back(id);
  return ids;
}

Batch one_document(const std::vector<std::int32_t>& ids) {
  const std::vector<Example> examples = {{ids, std::vector<bool>(ids.size(), true)}};
  return make_batch(examples);
}

}  // namespace

TEST_CASE("stories260K: teacher-forced logits within 2e-4 of llama2.c") {
  const auto folder = stories("stories260K logits");
  if (!folder) return;
  const auto model = load_llama<float>(*folder);
  const std::string raw = read_file(*folder / "golden_logits_128x512.f32");
  std::vector<float> wanted(raw.size() / sizeof(float));
  std::memcpy(wanted.data(), raw.data(), raw.size());
  const auto got = model.logits(one_document(read_ids(*folder / "golden_tokens_128.txt"))).to_vector();
  REQUIRE(wanted.size() == 128 * 512);
  float worst = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) worst = std::max(worst, std::abs(got[i] - wanted[i]));
  CHECK(worst <= 2e-4f);
}

TEST_CASE("stories260K: 256 greedy tokens, byte for byte") {
  const auto folder = stories("stories260K greedy");
  if (!folder) return;
  const auto model = load_llama<float>(*folder);
  const std::vector<std::int32_t> prompt = {static_cast<std::int32_t>(*model.tokenizer().bos_id())};
  const auto ids = generate(model, prompt, {.sampling = {.temperature = 0}, .max_new_tokens = 256});
  // llama2.c ends its output with a line break of its own.
  CHECK(model.tokenizer().decode(ids) + "\n" == read_file(*folder / "golden_greedy_256.txt"));
}

TEST_CASE("stories260K: likelihoods of 20 stories within 1e-5") {
  const auto folder = stories("stories260K likelihoods");
  if (!folder) return;
  const auto model = load_llama<float>(*folder);
  const auto golden = read_json_file(*folder / "golden_nll_stories.json");
  std::vector<std::string> texts;
  for (const auto& story : golden) texts.push_back(story["text"].get<std::string>());
  const auto got = likelihoods(model, model.tokenizer(), texts, model.config().max_position_embeddings);
  REQUIRE(got.size() == golden.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    CHECK(std::abs(got[i].mean() - golden[i]["mean_nll_fp32"].get<double>()) <= 1e-5);
}

TEST_CASE("stories260K: bf16 stays close to fp32") {
  const auto folder = stories("stories260K bf16");
  if (!folder) return;
  const auto ids = read_ids(*folder / "golden_tokens_128.txt");
  const auto wide = load_llama<float>(*folder).token_losses(one_document(ids));
  const auto narrow = load_llama<bf16>(*folder).token_losses(one_document(ids));
  double difference = 0;
  for (std::size_t i = 0; i < wide.size(); ++i) difference += narrow[i] - wide[i];
  CHECK(std::abs(difference) / static_cast<double>(wide.size()) <= 5e-3);
}

TEST_CASE("greedy continuations of every family equal those of transformers, cache and window included") {
  for (const char* family : test::golden_families) {
    CAPTURE(family);
    const test::Golden golden(family);
    const auto model = load_llama<float>(golden.folder());
    const auto prompt = golden.json()["greedy"]["prompt"].get<std::vector<std::int32_t>>();
    const auto wanted = golden.json()["greedy"]["continuation"].get<std::vector<std::int32_t>>();
    const auto count = static_cast<std::int64_t>(wanted.size());
    CHECK(generate(model, prompt, {.sampling = {.temperature = 0}, .max_new_tokens = count}) == wanted);
  }
}

TEST_CASE("a token behind the cache sees what it sees in one pass") {
  const test::Golden golden("mistral");  // its window is shorter than the text
  const auto model = load_llama<float>(golden.folder());
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 30; ++i) ids.push_back(i * 7 % 96);
  const auto whole = model.logits(one_document(ids)).rows(29, 1).to_vector();
  auto cache = model.make_cache(30);
  model.logits(std::span<const std::int32_t>(ids).first(11), cache);
  for (std::size_t i = 11; i < 29; ++i) model.logits(std::span<const std::int32_t>(&ids[i], 1), cache);
  CHECK(test::largest_difference(model.logits(std::span<const std::int32_t>(&ids[29], 1), cache).to_vector(), whole) <=
        1e-5);
}

TEST_CASE("generation ends at the context, at a stop token and when the onlooker says so") {
  const test::Golden golden("llama2");
  const auto model = load_llama<float>(golden.folder());
  const std::vector<std::int32_t> prompt = {1, 5, 9};
  const auto greedy = [&](GenerateOptions options) {
    options.sampling.temperature = 0;
    return generate(model, prompt, options);
  };
  const auto context = model.config().max_position_embeddings;
  const auto all = greedy({.max_new_tokens = 10000});
  CHECK(static_cast<std::int64_t>(all.size()) == context - 3);
  const auto stopped = greedy({.stop_ids = {all[4]}});
  CHECK(stopped.size() <= 4);
  int seen = 0;
  CHECK(generate(model, prompt, {.sampling = {.temperature = 0}}, [&](std::int32_t) { return ++seen < 3; }).size() ==
        3);
  CHECK_THROWS_AS(generate(model, std::vector<std::int32_t>{}, {}), Error);
  CHECK_THROWS_AS(generate(model, std::vector<std::int32_t>(static_cast<std::size_t>(context) + 1, 1), {}), Error);
}

TEST_CASE("windows of half a context score every token once") {
  for (const std::int64_t length : {2, 7, 8, 9, 12, 13, 31}) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
    std::int64_t scored = 0;
    for (const Example& window : detail::windows(ids, 8)) {
      CHECK(window.ids.size() <= 8);
      scored += window.supervised_tokens();
    }
    CHECK(scored == length - 1);
  }
}
