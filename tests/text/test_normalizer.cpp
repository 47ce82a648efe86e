#include <hone/text/normalizer.hpp>

#include "support/files.hpp"

#include <doctest/doctest.h>

#include <string>

namespace hone {

namespace {

std::string normal(const char* json, std::string text) {
  Normalizer::from_json(parse_json(json, "n"), "tiny.json normalizer")(text);
  return text;
}

}  // namespace

TEST_CASE("normalizer: each kind") {
  CHECK(normal(R"({"type": "NFC"})", "e\u0301") == "\u00E9");
  CHECK(normal(R"({"type": "NFD"})", "\u00E9") == "e\u0301");
  CHECK(normal(R"({"type": "NFKC"})", "\uFB01") == "fi");
  CHECK(normal(R"({"type": "NFKD"})", "\uFB01\u00E9") == "fie\u0301");
  CHECK(normal(R"({"type": "Lowercase"})", "AÉ\u0130x") == "aéi\u0307x");
  CHECK(normal(R"({"type": "Prepend", "prepend": "▁"})", "a") == "▁a");
  CHECK(normal(R"({"type": "Prepend", "prepend": "▁"})", "") == "");
  CHECK(normal(R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})", " a  b") == "▁a▁▁b");
  CHECK(normal(R"({"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "})", "a \n b") == "a b");
  CHECK(normal(R"({"type": "Strip", "strip_left": true, "strip_right": false})", "\u3000 a ") == "a ");
  CHECK(normal(R"({"type": "Strip", "strip_left": false, "strip_right": true})", " a \u3000") == " a");
  CHECK(normal(R"({"type": "Strip", "strip_left": true, "strip_right": true})", " \n\u00A0") == "");
}

TEST_CASE("normalizer: a sequence goes in order") {
  CHECK(normal(R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "A"}, {"type": "Lowercase"},
                  {"type": "Replace", "pattern": {"String": "a"}, "content": "A"}]})",
               "Ba") == "AbA");
  CHECK(normal(R"({"type": "Sequence", "normalizers": []})", "x") == "x");
}

TEST_CASE("normalizer: errors name the file, the place and what is wrong") {
  const auto refusal = [](const char* json) { return test::message_of([&] { normal(json, "x"); }); };
  const auto nested = refusal(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Precompiled"}]})");
  CHECK_MESSAGE(test::contains(nested, "[tiny.json normalizer.normalizers[1]]"), nested);
  CHECK_MESSAGE(test::contains(nested, "\"Precompiled\" is not supported"), nested);
  CHECK(test::contains(refusal(R"({})"), "\"type\" is missing"));
  CHECK(test::contains(refusal(R"(["NFC"])"), "not in an object"));
  CHECK(test::contains(refusal(R"({"type": "Strip", "strip_left": 1, "strip_right": true})"), "strip_left"));
  CHECK(test::contains(refusal(R"({"type": "Replace", "pattern": {"String": ""}, "content": "x"})"), "empty string"));
  CHECK(test::contains(refusal(R"({"type": "Replace", "pattern": {"Glob": "*"}, "content": "x"})"), "\"Regex\""));
  CHECK(test::contains(refusal(R"({"type": "Replace", "pattern": {"Regex": "("}, "content": "x"})"), "compiled"));
}

}  // namespace hone
