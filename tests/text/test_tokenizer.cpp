#include <hone/text/tokenizer.hpp>

#include "support/files.hpp"
#include "text/fixtures.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace hone {

using test::Ids;
using test::Json;

TEST_CASE("tokenizer: byte-level BPE, its merges and its special token") {
  const auto tokenizer = test::from_json(test::byte_level_json());
  CHECK(tokenizer.encode("hello hello") == Ids{259, 260});
  CHECK(tokenizer.encode("hell<|end|>he") == Ids{258, 261, 256});
  CHECK(tokenizer.encode("<|end|>", {.parse_special = false}) == Ids{'<', '|', 'e', 'n', 'd', '|', '>'});
  CHECK(tokenizer.encode("").empty());
  CHECK(tokenizer.vocab_size() == 262);
  CHECK(tokenizer.token_to_id("<|end|>") == 261);
  CHECK(tokenizer.id_to_token(260) == "Ġhello");
  CHECK_FALSE(tokenizer.id_to_token(262).has_value());
  CHECK_FALSE(tokenizer.token_to_id("nothing").has_value());
  CHECK_FALSE(tokenizer.bos_id().has_value());
  CHECK(tokenizer.decode(Ids{259, 261, 260, 9999, -100}) == "hello hello");
  CHECK(tokenizer.decode(Ids{259, 261}, false) == "hello<|end|>");
}

TEST_CASE("tokenizer: byte-level text comes back byte for byte, whatever it holds") {
  const auto tokenizer = test::from_json(test::byte_level_json());
  std::mt19937 random(11);
  for (std::size_t i = 0; i < 400; ++i) {
    const auto text = test::random_text(random, i % 90);
    const auto ids = tokenizer.encode(text);
    REQUIRE(tokenizer.decode(ids, false) == text);
    REQUIRE(test::streamed(tokenizer, ids, false) == text);
  }
}

TEST_CASE("tokenizer: bytes that are no UTF-8 are read as U+FFFD") {
  const auto byte_level = test::from_json(test::byte_level_json());
  const auto pieces = test::from_json(test::sentence_piece_json());
  std::mt19937 random(12);
  for (std::size_t i = 0; i < 300; ++i) {
    const auto bytes = test::random_bytes(random, i);
    REQUIRE(byte_level.decode(byte_level.encode(bytes), false) == repair_utf8(bytes));
    REQUIRE(pieces.encode(bytes) == pieces.encode(repair_utf8(bytes)));
  }
}

TEST_CASE("tokenizer: SentencePiece-style BPE with byte fallback and a template") {
  const auto tokenizer = test::from_json(test::sentence_piece_json());
  CHECK(tokenizer.encode("ab ab") == Ids{1, 264, 264});
  CHECK(tokenizer.encode("a b") == Ids{1, 263, 259, 261});
  CHECK(tokenizer.encode("ab", {.add_special_tokens = false}) == Ids{264});
  CHECK(tokenizer.encode("é", {.add_special_tokens = false}) == Ids{259, 3 + 0xC3, 3 + 0xA9});
  CHECK(tokenizer.encode("") == Ids{1});
  CHECK(tokenizer.decode(Ids{1, 264, 259, 3 + 0xC3, 3 + 0xA9, 2}) == "ab é");
  CHECK(tokenizer.decode(Ids{264, 3 + 0xC3}) == "ab\uFFFD");
  CHECK(tokenizer.bos_id() == 1);  // the template's one token in front
  CHECK(tokenizer.adds_bos());
}

TEST_CASE("tokenizer: one BOS, ever") {
  const auto tokenizer = test::from_json(test::sentence_piece_json());
  CHECK(tokenizer.encode_with_bos("ab") == Ids{1, 264});
  CHECK(tokenizer.encode_with_bos("<s>ab") == Ids{1, 264});
  CHECK(tokenizer.encode_with_bos("") == Ids{1});
  CHECK(tokenizer.with_bos(tokenizer.encode("ab")) == Ids{1, 264});
  // Untrusted text that spells BOS gets a real one in front and stays text.
  const auto untrusted = tokenizer.encode_with_bos("<s>", false);
  CHECK(untrusted.front() == 1);
  CHECK(untrusted.size() > 3);
  CHECK(test::from_json(test::byte_level_json()).encode_with_bos("he") == Ids{256});
}

TEST_CASE("tokenizer: streaming never splits a character and adds up to decode") {
  std::mt19937 random(13);
  for (const auto& json : {test::byte_level_json(), test::sentence_piece_json()}) {
    const auto tokenizer = test::from_json(json);
    for (int i = 0; i < 400; ++i) {
      Ids ids(random() % 40);
      const auto rows = static_cast<std::uint32_t>(tokenizer.vocab_size()) + 3;
      for (auto& id : ids) id = static_cast<std::int32_t>(random() % rows);
      REQUIRE(test::streamed(tokenizer, ids) == tokenizer.decode(ids));
      REQUIRE(test::streamed(tokenizer, ids, false) == tokenizer.decode(ids, false));
      REQUIRE(is_valid_utf8(tokenizer.decode(ids)));
    }
  }
}

TEST_CASE("tokenizer: a stream can be used again after flush") {
  StreamDecoder stream(test::from_json(test::sentence_piece_json()));
  CHECK(stream.push(264) == "ab");
  CHECK(stream.push(3 + 0xC3) == "");
  CHECK(stream.flush() == "\uFFFD");
  CHECK(stream.push(264) == "ab");
  CHECK(stream.flush() == "");
}

TEST_CASE("tokenizer: one for many threads") {
  const auto tokenizer = test::from_json(test::sentence_piece_json());
  const std::string text = "ab a b é ab <s> abab ";
  const auto expected = tokenizer.encode(text);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (auto& count : wrong) {
    threads.emplace_back([&tokenizer, &text, &expected, &count] {
      for (int i = 0; i < 200; ++i) count += tokenizer.encode(text) != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("tokenizer: a folder says what BOS, EOS and PAD are") {
  const test::TemporaryFolder folder;
  test::put(folder / "tokenizer.json", test::sentence_piece_json().dump());
  const auto load = [&] { return Tokenizer::from_folder(folder.path()); };
  CHECK(load().bos_id() == 1);
  CHECK_FALSE(load().eos_id().has_value());
  test::put(folder / "config.json", R"({"bos_token_id": 1, "eos_token_id": [2, 1], "pad_token_id": -1})");
  CHECK(load().eos_id() == 2);
  CHECK_FALSE(load().pad_id().has_value());
  test::put(folder / "special_tokens_map.json", R"({"pad_token": {"content": "</s>"}})");
  CHECK(load().pad_id() == 2);
  test::put(folder / "tokenizer_config.json",
            R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": "<unk>", "add_bos_token": false})");
  CHECK(load().bos_id() == 1);
  CHECK(load().eos_id() == 2);
  CHECK(load().pad_id() == 0);
  CHECK(load().encode("ab") == Ids{264});
  CHECK_FALSE(load().adds_bos());
  CHECK(load().encode_with_bos("ab") == Ids{1, 264});
  test::put(folder / "tokenizer_config.json",
            R"({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": true})");
  CHECK(load().encode("ab") == Ids{1, 264, 2});
}

TEST_CASE("tokenizer: folders that do not fit give a sentence") {
  const test::TemporaryFolder folder;
  const auto refusal = [&] { return test::message_of([&] { Tokenizer::from_folder(folder.path()); }); };
  CHECK(refusal() == "[" + folder.path().string() + "] there is no tokenizer.json in this folder");
  test::put(folder / "tokenizer.model", "x");
  CHECK(test::contains(refusal(), "tokenizer.model has to be converted first"));
  test::put(folder / "tokenizer.json", test::byte_level_json().dump());
  test::put(folder / "tokenizer_config.json", R"({"bos_token": "<nowhere>"})");
  CHECK(test::contains(refusal(), "tokenizer_config.json] special token \"<nowhere>\" is not in the vocabulary"));
  test::put(folder / "tokenizer_config.json", R"({"add_bos_token": true})");
  CHECK(test::contains(refusal(), "\"add_bos_token\" is true, but no such token is named"));
  test::put(folder / "tokenizer_config.json", R"({"bos_token": 5})");
  CHECK(test::contains(refusal(), "\"bos_token\" is 5"));
  CHECK(test::contains(test::message_of([&] { Tokenizer::from_file(folder / "none.json"); }), "none.json"));
}

TEST_CASE("tokenizer: malformed files are refused with the file and the place") {
  const auto refusal = [](const char* patch) {
    auto json = test::sentence_piece_json();
    json.merge_patch(Json::parse(patch));
    return test::message_of([&] { test::from_json(json); });
  };
  const std::vector<std::pair<const char*, const char*>> cases{
      {R"({"model": null})", "[tiny.json] \"model\" is missing"},
      {R"({"model": [1]})", "\"model\" is an array"},
      {R"({"model": {"type": "Unigram"}})", "[tiny.json model] type \"Unigram\" is not supported"},
      {R"({"model": {"type": 3}})", "\"type\" is 3"},
      {R"({"model": {"vocab": null}})", "\"vocab\" is missing"},
      {R"({"model": {"vocab": {"b": 260}}})", "id 260 is given to"},
      {R"({"model": {"vocab": {"b": 99999999999}}})", "99999999999"},
      {R"({"model": {"merges": "a b"}})", "\"merges\" is"},
      {R"({"model": {"merges": ["a b", "nothing"]}})", "[tiny.json model] merges[1]: \"nothing\" has no blank"},
      {R"({"model": {"merges": ["a b", "b zz"]}})", "[tiny.json model] merges[1] (\"b\" + \"zz\"): \"zz\" is not in"},
      {R"({"model": {"merges": [["a", "b", "c"]]}})", "merges[0] is an array"},
      {R"({"model": {"merges": [5]}})", "merges[0] is 5"},
      {R"({"model": {"merges": ["a  b"]}})", "can be cut into two tokens in 0 ways"},
      {R"({"model": {"dropout": 0.1}})", "\"dropout\" is not supported"},
      {R"({"model": {"end_of_word_suffix": "</w>"}})", "\"end_of_word_suffix\": \"</w>\" is not supported"},
      {R"({"model": {"unk_token": "<none>"}})", "\"unk_token\": \"<none>\" is not in the vocabulary"},
      {R"({"model": {"byte_fallback": "yes"}})", "\"byte_fallback\" is \"yes\""},
      {R"({"normalizer": {"type": "BertNormalizer"}})", "[tiny.json normalizer] type \"BertNormalizer\""},
      {R"({"pre_tokenizer": {"type": "UnicodeScripts"}})", "[tiny.json pre_tokenizer] type \"UnicodeScripts\""},
      {R"({"post_processor": {"type": "RobertaProcessing"}})", "[tiny.json post_processor] type \"RobertaProcessing\""},
      {R"({"decoder": {"type": "CTC", "decoders": null}})", "[tiny.json decoder] type \"CTC\""},
      {R"({"added_tokens": [{"id": 7, "content": "<s>"}]})", "added_tokens[0]] \"<s>\" has id 7 here and 1"},
      {R"({"added_tokens": 7})", "\"added_tokens\" is 7"},
  };
  for (const auto& [patch, expected] : cases) {
    const auto message = refusal(patch);
    CHECK_MESSAGE(test::contains(message, "[tiny.json"), message);
    CHECK_MESSAGE(test::contains(message, expected), message);
  }
  CHECK(test::contains(test::message_of([] { Tokenizer::from_text("[]", "tiny.json"); }), "[tiny.json] is an array"));
  CHECK(test::contains(test::message_of([] { Tokenizer::from_text("{", "tiny.json"); }), "[tiny.json]"));
}

TEST_CASE("tokenizer: merges may be pairs, and blanks in their tokens are no riddle") {
  auto json = test::tokenizer_json({"a", " ", "b", " b", "a b", "  "}, {"  b", "a  b", "   "});
  json["model"]["fuse_unk"] = nullptr;
  const auto tokenizer = test::from_json(json);
  CHECK(tokenizer.encode("a b  ") == Ids{4, 5});
  json["model"]["merges"] = Json::parse(R"([[" ", "b"], ["a", " b"]])");
  CHECK(test::from_json(json).encode("a b") == Ids{4});
}

TEST_CASE("tokenizer: broken files of every kind end in an Error, never in a crash") {
  std::mt19937 random(17);
  const auto whole = test::sentence_piece_json().dump();
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    auto text = whole;
    for (int k = 0; k < 3; ++k) {
      // Near the ends stand the components; the middle is all vocabulary.
      const auto at = random() % 2 == 0 ? random() % 900 : text.size() - 1 - random() % 900;
      text[at] = "{}[]\",:0a1-"[random() % 11];
    }
    try {
      const auto tokenizer = Tokenizer::from_text(text, "broken.json");
      tokenizer.decode(tokenizer.encode("ab <s> é"));
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 200);
}

}  // namespace hone
