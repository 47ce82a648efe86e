#include <hone/text/decoder.hpp>

#include "support/files.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace hone {

namespace {

std::string decoded(const std::string& json, const std::vector<std::string>& tokens) {
  const auto component = parse_json(json, "d");
  auto decoder = Decoder::from_json(component.is_null() ? nullptr : &component, "tiny.json decoder");
  std::string out;
  for (const auto& token : tokens) decoder.push(token, out);
  decoder.finish(out);
  return out;
}

std::string sequence(const std::string& parts) { return R"({"type": "Sequence", "decoders": [)" + parts + "]}"; }

constexpr const char* fallback = R"({"type": "ByteFallback"})";
constexpr const char* fuse = R"({"type": "Fuse"})";
constexpr const char* byte_level = R"({"type": "ByteLevel"})";

std::string strip(int start, int stop) {
  return R"({"type": "Strip", "content": "_", "start": )" + std::to_string(start) + R"(, "stop": )" +
         std::to_string(stop) + "}";
}

}  // namespace

TEST_CASE("decoder: byte level joins bytes across tokens") {
  CHECK(decoded(byte_level, {"Ġa", "Ã", "©"}) == " aé");
  CHECK(decoded(byte_level, {"a", "Ã"}) == "a\uFFFD");
  CHECK(decoded(byte_level, {"Ã", "a", "©"}) == "\uFFFDa\uFFFD");
  CHECK(decoded(byte_level, {"<|a b|>", "中"}) == "<|a b|>中");  // not of the alphabet: as they are
}

TEST_CASE("decoder: byte fallback takes a whole row of bytes or none") {
  CHECK(decoded(fallback, {"a", "<0xC3>", "<0xA9>", "b"}) == "aéb");
  CHECK(decoded(fallback, {"<0xF0>", "<0x9F>", "<0xA6>", "<0x99>"}) == "🦙");
  CHECK(decoded(fallback, {"<0x61>", "<0xC3>", "b"}) == "\uFFFD\uFFFDb");
  CHECK(decoded(fallback, {"<0xC3>", "b", "<0xA9>"}) == "\uFFFDb\uFFFD");
  CHECK(decoded(fallback, {"<0xZZ>", "<0x1>", "<0x0a>"}) == "<0xZZ><0x1>\n");
}

TEST_CASE("decoder: strip works on each token, after Fuse on the whole text") {
  CHECK(decoded(strip(1, 0), {"__a", "_b", "c_"}) == "_abc_");
  CHECK(decoded(strip(0, 1), {"a__", "b_"}) == "a_b");
  CHECK(decoded(strip(2, 1), {"___", "_"}) == "");
  CHECK(decoded(sequence(std::string(fuse) + "," + strip(1, 0)), {"_", "_a", "_b"}) == "_a_b");
  CHECK(decoded(sequence(std::string(fuse) + "," + strip(0, 2)), {"a_", "_", "_b_", "__"}) == "a___b_");
}

TEST_CASE("decoder: replace works on each token, after Fuse on the whole text") {
  const std::string replace = R"({"type": "Replace", "pattern": {"String": "ab"}, "content": "-"})";
  CHECK(decoded(replace, {"a", "b", "xab"}) == "abx-");
  CHECK(decoded(sequence(std::string(fuse) + "," + replace), {"a", "b", "xab"}) == "-x-");
}

TEST_CASE("decoder: metaspace drops the mark of the first token only") {
  const std::string always = R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"})";
  CHECK(decoded(always, {"▁a", "▁b"}) == "a b");
  CHECK(decoded(R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})", {"▁a", "▁b"}) == " a b");
}

TEST_CASE("decoder: Llama's sequence, and none at all") {
  const auto llama = sequence(R"({"type": "Replace", "pattern": {"String": "▁"}, "content": " "})" + std::string(",") +
                              fallback + "," + fuse + R"(, {"type": "Strip", "content": " ", "start": 1, "stop": 0})");
  CHECK(decoded(llama, {"▁Hello", "▁", "<0xF0>", "<0x9F>", "<0xA6>", "<0x99>", "▁x"}) == "Hello 🦙 x");
  CHECK(decoded(llama, {"▁▁", "a"}) == " a");
  CHECK(decoded("null", {"a", "b"}) == "a b");
  CHECK(decoded(sequence(""), {"a", "b"}) == "ab");
}

TEST_CASE("decoder: errors name the file, the place and what is wrong") {
  const auto refusal = [](const std::string& json) { return test::message_of([&] { decoded(json, {}); }); };
  const auto nested = refusal(sequence(std::string(fuse) + R"(, {"type": "WordPiece"})"));
  CHECK_MESSAGE(test::contains(nested, "[tiny.json decoder.decoders[1]] type \"WordPiece\" is not supported"), nested);
  CHECK(test::contains(refusal(R"({"type": "Strip", "content": "ab", "start": 1, "stop": 0})"), "one character"));
  CHECK(test::contains(refusal(R"({"type": "Strip", "content": "a", "start": -1, "stop": 0})"), "start"));
  CHECK(test::contains(refusal(R"({"type": 5})"), "\"type\" is 5"));
}

}  // namespace hone
