#include <hone/text/added_tokens.hpp>

#include "support/files.hpp"
#include "text/fixtures.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace hone {

namespace {

using test::Json;

/// What the tokens (ids 10, 11, ...) cut out of a text: "text" for text, "[id]" for tokens.
std::vector<std::string> cut(std::vector<Json> tokens, const std::string& text, bool parse_special = true) {
  Json list = Json::array();
  for (auto& token : tokens) {
    token["id"] = 10 + list.size();
    list.push_back(token);
  }
  const auto lower = [](std::string& s) { std::transform(s.begin(), s.end(), s.begin(), ::tolower); };
  const AddedTokens added(&list, Vocabulary(), lower, "tiny.json");
  Pieces pieces(text);
  added.cut_raw(pieces, parse_special);
  added.cut_normalised(pieces, parse_special);
  std::vector<std::string> out;
  for (const auto& piece : pieces.list()) {
    out.push_back(piece.token >= 0 ? "[" + std::to_string(piece.token) + "]" : std::string(pieces.text(piece)));
  }
  return out;
}

Json token(const std::string& content, const char* flag = nullptr) {
  Json out{{"content", content}, {"special", false}, {"normalized", false}};
  if (flag != nullptr) out[flag] = true;
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("added tokens: leftmost, then longest") {
  CHECK(cut({token("<a>"), token("<a>b"), token("b<")}, "x<a>b<a>") == Texts{"x", "[11]", "[10]"});
  CHECK(cut({token("ab")}, "a") == Texts{"a"});
  CHECK(cut({token("é")}, "éxé") == Texts{"[10]", "x", "[10]"});
  CHECK(cut({token("a")}, "").empty());
}

TEST_CASE("added tokens: lstrip and rstrip swallow white space") {
  CHECK(cut({token("<m>", "lstrip")}, "a \u3000<m> b") == Texts{"a", "[10]", " b"});
  CHECK(cut({token("<m>", "rstrip")}, "a <m>\n \tb") == Texts{"a ", "[10]", "b"});
  CHECK(cut({token("<m>", "rstrip"), token("<n>", "lstrip")}, "<m>  <n>") == Texts{"[10]", "[11]"});
  // A token that a neighbour has swallowed is gone.
  CHECK(cut({token("<m>", "rstrip"), token(" ", "lstrip")}, "<m> a") == Texts{"[10]", "a"});
}

TEST_CASE("added tokens: single_word needs no word character beside it") {
  CHECK(cut({token("an", "single_word")}, "an can an-an anx é an") ==
        Texts{"[10]", " can ", "[10]", "-", "[10]", " anx é ", "[10]"});
}

TEST_CASE("added tokens: special ones stay text when the text is untrusted, others do not") {
  CHECK(cut({token("<s>", "special"), token("<m>")}, "<s><m>", true) == Texts{"[10]", "[11]"});
  CHECK(cut({token("<s>", "special"), token("<m>")}, "<s><m>", false) == Texts{"<s>", "[11]"});
}

TEST_CASE("added tokens: normalised ones are looked for in their normalised form") {
  CHECK(cut({token("DAY", "normalized")}, "a day, a DAY") == Texts{"a ", "[10]", ", a DAY"});
}

TEST_CASE("added tokens: errors name the file and the entry") {
  const auto refusal = [](const Json& list) {
    const auto model = Vocabulary::from_json(Json::parse(R"({"a": 0, "b": 1})"), "m");
    return test::message_of([&] {
      AddedTokens(
          &list, model, [](std::string&) {}, "tiny.json");
    });
  };
  const auto conflict = refusal(Json::array({test::added_token("x", 5), test::added_token("a", 1)}));
  CHECK_MESSAGE(test::contains(conflict, "[tiny.json added_tokens[1]] \"a\" has id 1 here and 0"), conflict);
  CHECK(test::contains(refusal(Json::array({test::added_token("x", 1)})), "which is the model's \"b\""));
  CHECK(
      test::contains(refusal(Json::array({test::added_token("x", 5), test::added_token("y", 5)})), "id 5 is given to"));
  CHECK(test::contains(refusal(Json::array({test::added_token("x", 5), test::added_token("x", 6)})),
                       "has the ids 5 and 6"));
  CHECK(test::contains(refusal(Json::array({test::added_token("", 5)})), "\"content\" is empty"));
  CHECK(test::contains(refusal(Json::array({test::added_token("x", -1)})), "-1"));
  CHECK(test::contains(refusal(Json::array({test::added_token("x", 1 << 30)})), "1073741824"));
  CHECK(test::contains(refusal(Json::object()), "an array was expected"));
  CHECK(test::contains(refusal(Json::parse(R"([{"id": 5}])")), "\"content\" is missing"));
}

}  // namespace hone
