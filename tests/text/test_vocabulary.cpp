#include <hone/text/vocabulary.hpp>

#include "support/files.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>

namespace hone {

TEST_CASE("vocabulary: both ways, with holes, moved") {
  auto read = Vocabulary::from_json(parse_json(R"({"a": 0, "é": 5, "": 2})", "v"), "v");
  const Vocabulary vocabulary = std::move(read);
  CHECK(vocabulary.size() == 3);
  CHECK(vocabulary.id_count() == 6);
  CHECK(vocabulary.find("é") == 5);
  CHECK(*vocabulary.text(5) == "é");
  CHECK(*vocabulary.text(2) == "");
  CHECK(vocabulary.text(1) == nullptr);
  CHECK(vocabulary.text(6) == nullptr);
  CHECK(vocabulary.text(-1) == nullptr);
  CHECK_FALSE(vocabulary.find("b").has_value());
}

TEST_CASE("vocabulary: what a file may not say") {
  const auto refusal = [](const char* json) {
    return test::message_of([&] { Vocabulary::from_json(parse_json(json, "v.json"), "v.json model"); });
  };
  CHECK(refusal(R"({"a": 1, "b": 1})") == "[v.json model] id 1 is given to \"a\" and to \"b\"");
  CHECK(test::contains(refusal(R"({"a": -1})"), "[v.json model] \"a\" is -1"));
  CHECK(test::contains(refusal(R"({"a": 4000000000})"), "4000000000"));
  CHECK(test::contains(refusal(R"({"a": 2000000})"), "2000000"));  // a small file must not take much memory
  CHECK(test::contains(refusal(R"({"a": 1.5})"), "an integer was expected"));
  CHECK(test::contains(refusal(R"({"a": "1"})"), "an integer was expected"));
  CHECK(test::contains(refusal(R"(["a"])"), "an object of token: id was expected"));
  CHECK(test::contains(refusal(R"({"a": 1, "a": 2})"), "given twice"));
}

}  // namespace hone
