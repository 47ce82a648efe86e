#include <hone/text/pre_tokenizer.hpp>

#include "support/files.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace hone {

namespace {

using Texts = std::vector<std::string>;

Texts cut(const std::string& json, std::string text) {
  Pieces pieces(std::move(text));
  PreTokenizer::from_json(parse_json(json, "p"), "tiny.json pre_tokenizer")(pieces);
  Texts out;
  for (const auto& piece : pieces.list()) out.emplace_back(pieces.text(piece));
  return out;
}

}  // namespace

TEST_CASE("pre-tokenizer: each kind") {
  CHECK(cut(R"({"type": "Split", "pattern": {"Regex": "[0-9]{1,3}"}, "behavior": "Isolated", "invert": false})",
            "a12345") == Texts{"a", "123", "45"});
  CHECK(cut(R"({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"})", "a b c") ==
        Texts{"a ", "b ", "c"});
  CHECK(cut(R"({"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": "Removed", "invert": true})", "a, b") ==
        Texts{"a", "b"});
  CHECK(cut(R"({"type": "Digits", "individual_digits": true})", "a12½") == Texts{"a", "1", "2", "½"});
  CHECK(cut(R"({"type": "Digits", "individual_digits": false})", "12a34") == Texts{"12", "a", "34"});
  CHECK(cut(R"({"type": "Punctuation"})", "a,.b$") == Texts{"a", ",", ".", "b", "$"});
  CHECK(cut(R"({"type": "Punctuation", "behavior": "Contiguous"})", "a,。b") == Texts{"a", ",。", "b"});
}

TEST_CASE("pre-tokenizer: byte level, with and without its expression and its blank in front") {
  CHECK(cut(R"({"type": "ByteLevel"})", "Hey it's") == Texts{"ĠHey", "Ġit", "'s"});
  CHECK(cut(R"({"type": "ByteLevel", "add_prefix_space": false})", "é  b") == Texts{"Ã©", "Ġ", "Ġb"});
  CHECK(cut(R"({"type": "ByteLevel", "add_prefix_space": true})", " a") == Texts{"Ġa"});
  CHECK(cut(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})", "a b\n") == Texts{"aĠbĊ"});
}

TEST_CASE("pre-tokenizer: metaspace and its schemes") {
  const auto metaspace = [](const std::string& rest) {
    return R"({"type": "Metaspace", "replacement": "▁")" + rest + "}";
  };
  CHECK(cut(metaspace(""), "a  b") == Texts{"▁a", "▁", "▁b"});
  CHECK(cut(metaspace(R"(, "split": false)"), "a b") == Texts{"▁a▁b"});
  CHECK(cut(metaspace(R"(, "prepend_scheme": "never")"), "a b") == Texts{"a", "▁b"});
  CHECK(cut(metaspace(R"(, "add_prefix_space": false)"), "a") == Texts{"a"});
  CHECK(cut(metaspace(R"(, "prepend_scheme": "always")"), " a") == Texts{"▁a"});
  // Only the part where the text begins gets a mark.
  const auto first = metaspace(R"(, "prepend_scheme": "first")");
  CHECK(cut(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, )" + first + "]}", "a1b") ==
        Texts{"▁a", "1", "b"});
}

TEST_CASE("pre-tokenizer: Falcon's sequence") {
  CHECK(cut(R"({"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"},
                  {"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits", "individual_digits": false},
                  {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}]})",
            "x=12345!! y") == Texts{"x", "=", "123", "45", "!!", "Ġy"});
}

TEST_CASE("pre-tokenizer: errors name the file, the place and what is wrong") {
  const auto refusal = [](const char* json) { return test::message_of([&] { cut(json, "x"); }); };
  const auto nested = refusal(R"({"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]})");
  CHECK_MESSAGE(test::contains(nested, "[tiny.json pre_tokenizer.pretokenizers[0]] type \"Whitespace\""), nested);
  const auto behavior = refusal(R"({"type": "Punctuation", "behavior": "Merged"})");
  CHECK_MESSAGE(test::contains(behavior, "\"Merged\" is not supported; known: Removed, Isolated"), behavior);
  CHECK(test::contains(refusal(R"({"type": "Metaspace", "replacement": "ab"})"), "must be one character"));
  CHECK(test::contains(refusal(R"({"type": "Metaspace", "replacement": "a", "prepend_scheme": "last"})"), "last"));
  CHECK(test::contains(
      refusal(R"({"type": "Metaspace", "replacement": "a", "prepend_scheme": "first", "add_prefix_space": false})"),
      "contradicts"));
  CHECK(test::contains(refusal(R"({"type": "Sequence"})"), "\"pretokenizers\" is missing"));
  CHECK(test::contains(refusal(R"({"type": "ByteLevel", "use_regex": "yes"})"), "use_regex"));
}

}  // namespace hone
