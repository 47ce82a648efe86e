// Against others' answers: the Rust library's on random small tokenizers (golden_components.json, made by
// make_golden.py), llama.cpp's on six real vocabularies, llama2.c's on stories.
#include "support/data.hpp"
#include "support/files.hpp"
#include "text/fixtures.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

using test::Ids;

TEST_CASE("golden: ids and texts of the Rust library, over all components") {
  const auto cases =
      read_json_file(std::filesystem::path(HONE_SOURCE_DIR) / "tests" / "text" / "golden_components.json");
  REQUIRE(cases.size() >= 32);
  for (const auto& golden : cases) {
    const auto tokenizer = Tokenizer::from_text(golden["file"].dump(), "golden");
    auto components = golden["file"];
    components.erase("model");
    INFO(components.dump());
    for (const auto& entry : golden["encode"]) {
      const auto& text = entry["text"].get_ref<const std::string&>();
      INFO(text);
      CHECK(tokenizer.encode(text, {.add_special_tokens = false}) == entry["plain"].get<Ids>());
      CHECK(tokenizer.encode(text) == entry["full"].get<Ids>());
      CHECK(tokenizer.encode(text, {.add_special_tokens = false, .parse_special = false}) ==
            entry["untrusted"].get<Ids>());
    }
    for (const auto& entry : golden["decode"]) {
      const auto ids = entry["ids"].get<Ids>();
      CHECK(tokenizer.decode(ids) == entry["text"].get<std::string>());
      CHECK(tokenizer.decode(ids, false) == entry["with_special"].get<std::string>());
      CHECK(test::streamed(tokenizer, ids) == entry["text"].get<std::string>());
    }
  }
}

namespace {

/// The texts of an .inp file: between lines that hold only the separator.
std::vector<std::string> vector_texts(const std::filesystem::path& path) {
  const std::string all = test::get(path);
  constexpr std::string_view separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> out;
  std::size_t at = 0;
  for (auto next = all.find(separator); next != std::string::npos; next = all.find(separator, at)) {
    out.push_back(all.substr(at, next - at));
    at = next + separator.size();
  }
  out.push_back(all.substr(at));
  return out;
}

/// The ids of an .out file, a line each; the last text is empty and has no line.
std::vector<Ids> vector_ids(const std::filesystem::path& path) {
  std::istringstream lines(test::get(path));
  std::vector<Ids> out;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    auto& ids = out.emplace_back();
    for (std::int32_t id = 0; numbers >> id;) ids.push_back(id);
  }
  out.emplace_back();
  return out;
}

}  // namespace

TEST_CASE("golden: llama.cpp's vectors on six vocabularies") {
  const auto data = test::shared_data();
  if (!data) return test::skip("llama.cpp's tokenizer vectors", "no ../shared/data");
  const std::map<std::string, std::string> vocabularies{{"llama3", "llama-bpe"}, {"llama2", "llama-spm"},
                                                        {"qwen2", "qwen2"},      {"gpt2", "gpt-2"},
                                                        {"phi-3", "phi-3"},      {"falcon", "falcon"}};
  for (const auto& [folder, name] : vocabularies) {
    const auto vectors = *data / "tokenizers" / "vectors" / ("ggml-vocab-" + name + ".gguf");
    const auto texts = vector_texts(vectors.string() + ".inp");
    const auto ids = vector_ids(vectors.string() + ".out");
    REQUIRE(texts.size() == 47);
    REQUIRE(ids.size() == texts.size());
    const auto tokenizer = Tokenizer::from_folder(*data / "tokenizers" / folder);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      INFO(vectors.string() << " text " << i << ": " << texts[i]);
      CHECK(tokenizer.encode(texts[i], {.add_special_tokens = false}) == ids[i]);
      // Qwen2 normalises, the others give the text back; all stream what they decode.
      if (folder != "qwen2") CHECK(tokenizer.decode(ids[i]) == texts[i]);
      CHECK(test::streamed(tokenizer, ids[i]) == tokenizer.decode(ids[i]));
    }
  }
}

TEST_CASE("golden: special tokens of real folders") {
  const auto data = test::shared_data();
  if (!data) return test::skip("special tokens of real folders", "no ../shared/data");
  const auto load = [&](const char* name) { return Tokenizer::from_folder(*data / "tokenizers" / name); };
  const auto llama2 = load("llama2"), llama3 = load("llama3"), qwen2 = load("qwen2"), phi3 = load("phi-3");
  CHECK(llama2.bos_id() == 1);
  CHECK(llama2.eos_id() == 2);
  CHECK(llama2.encode("Hi") == Ids{1, 6324});
  CHECK(llama3.bos_id() == 128000);
  CHECK(llama3.vocab_size() == 128256);
  CHECK(llama3.encode_with_bos("<|begin_of_text|>Hi") == llama3.encode("Hi"));
  CHECK_FALSE(qwen2.bos_id().has_value());
  CHECK(qwen2.eos_id() == 151645);
  CHECK(qwen2.pad_id() == 151643);
  CHECK(qwen2.encode("<|im_start|>").size() == 1);
  CHECK(qwen2.encode("<|im_start|>", {.parse_special = false}).size() > 1);
  CHECK(phi3.eos_id() == 32000);
  // <|user|> swallows the white space after it.
  CHECK(phi3.encode("<|user|>\n\nHi", {.add_special_tokens = false}) == Ids{32010, 6324});
}

TEST_CASE("golden: llama2.c's ids on stories") {
  const auto data = test::shared_data();
  if (!data) return test::skip("llama2.c's ids on stories", "no ../shared/data");
  const auto tokenizer = Tokenizer::from_folder(*data / "stories260K");
  const auto stories = read_json_file(*data / "stories260K" / "golden_nll_stories.json");
  REQUIRE(stories.size() >= 20);
  for (const auto& story : stories) {
    const auto& text = story["text"].get_ref<const std::string&>();
    CHECK(tokenizer.encode(text) == story["tokens"].get<Ids>());
    CHECK(tokenizer.decode(story["tokens"].get<Ids>()) == text);
  }
}

}  // namespace hone
