// Small tokenizers for the tests of text/, made in place so that no test needs a file.
#pragma once

#include <hone/io/json.hpp>
#include <hone/text/byte_level.hpp>
#include <hone/text/tokenizer.hpp>
#include <hone/text/utf8.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::test {

using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

/// A tokenizer.json around a model with these tokens, ids in order, and these merges.
inline Json tokenizer_json(const std::vector<std::string>& tokens, const std::vector<std::string>& merges) {
  Json vocab = Json::object();
  for (std::size_t i = 0; i < tokens.size(); ++i) vocab[tokens[i]] = i;
  return {{"version", "1.0"}, {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

inline Json added_token(std::string_view content, int id, bool special = true) {
  return {{"id", id},        {"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"special", special}, {"normalized", false}};
}

/// Byte-level: ids 0..255 are the bytes, 256 "he", 257 "ll", 258 "hell", 259 "hello", 260 "Ġhello"; 261 <|end|> is
/// special.
inline Json byte_level_json() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    ByteAlphabet::get().encode(std::string(1, static_cast<char>(byte)), tokens.emplace_back());
  }
  for (const auto* token : {"he", "ll", "hell", "hello", "Ġhello"}) tokens.emplace_back(token);
  auto json = tokenizer_json(tokens, {"h e", "l l", "he ll", "hell o", "Ġ hello"});
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  json["decoder"] = {{"type", "ByteLevel"}};
  json["added_tokens"] = Json::array({added_token("<|end|>", 261)});
  return json;
}

/// As SentencePiece models come: <unk> 0, <s> 1, </s> 2, bytes 3..258, then "▁", "a", "b", "ab", "▁a", "▁ab"
/// (259..264); text gets <s> in front.
inline Json sentence_piece_json() {
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(fmt::format("<0x{:02X}>", byte));
  for (const auto* token : {"▁", "a", "b", "ab", "▁a", "▁ab"}) tokens.emplace_back(token);
  auto json = tokenizer_json(tokens, {"a b", "▁ ab", "▁ a"});
  json["model"]["unk_token"] = "<unk>";
  json["model"]["byte_fallback"] = true;
  json["model"]["fuse_unk"] = true;
  json["added_tokens"] = Json::array({added_token("<unk>", 0), added_token("<s>", 1), added_token("</s>", 2)});
  json["normalizer"] = Json::parse(R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  json["post_processor"] = Json::parse(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}})");
  json["decoder"] = Json::parse(R"({"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");
  return json;
}

inline Tokenizer from_json(const Json& json) { return Tokenizer::from_text(json.dump(), "tiny.json"); }

/// Valid UTF-8 of `length` characters from all planes, some ASCII.
inline std::string random_text(std::mt19937& random, std::size_t length) {
  std::string out;
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint32_t limit = std::uint32_t{1} << (random() % 3 == 0 ? 21 : random() % 2 == 0 ? 11 : 7);
    const auto c = static_cast<char32_t>(random() % limit);
    append_utf8(c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) ? U' ' : c, out);
  }
  return out;
}

inline std::string random_bytes(std::mt19937& random, std::size_t length) {
  std::string out;
  for (std::size_t i = 0; i < length; ++i) out.push_back(static_cast<char>(random() % 256));
  return out;
}

/// All ids through a StreamDecoder; fails when a piece is not whole characters.
inline std::string streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip_special = true) {
  StreamDecoder stream(tokenizer, skip_special);
  std::string out;
  for (const auto id : ids) {
    const auto piece = stream.push(id);
    REQUIRE(is_valid_utf8(piece));
    out += piece;
  }
  return out + stream.flush();
}

}  // namespace hone::test
