#include <hone/text/pieces.hpp>

#include <hone/text/pattern.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace hone {

namespace {

std::vector<std::string> texts(const Pieces& pieces) {
  std::vector<std::string> out;
  for (const auto& piece : pieces.list()) out.emplace_back(pieces.text(piece));
  return out;
}

std::vector<std::string> split(std::string text, SplitBehavior behavior, bool invert = false) {
  Pieces pieces(std::move(text));
  pieces.split(behavior, invert, [](std::string_view part, auto&& found) { StringMatcher("-").for_each(part, found); });
  return texts(pieces);
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("pieces: every behaviour of a split") {
  const std::string text = "-a--b-c";
  CHECK(split(text, SplitBehavior::removed) == Texts{"a", "b", "c"});
  CHECK(split(text, SplitBehavior::isolated) == Texts{"-", "a", "-", "-", "b", "-", "c"});
  CHECK(split(text, SplitBehavior::contiguous) == Texts{"-", "a", "--", "b", "-", "c"});
  CHECK(split(text, SplitBehavior::merged_with_previous) == Texts{"-", "a-", "-", "b-", "c"});
  CHECK(split(text, SplitBehavior::merged_with_next) == Texts{"-a", "-", "-b", "-c"});
}

TEST_CASE("pieces: an inverted split takes the rest for the matches") {
  CHECK(split("-a--b", SplitBehavior::removed, true) == Texts{"-", "-", "-"});
  CHECK(split("-a--b", SplitBehavior::merged_with_previous, true) == Texts{"-a", "-", "-b"});
  CHECK(split("ab", SplitBehavior::isolated, true) == Texts{"ab"});
  CHECK(split("", SplitBehavior::isolated).empty());
}

TEST_CASE("pieces: tokens are left alone, and the start of the text is known") {
  Pieces pieces("one two");
  pieces.refine([](std::string_view, auto&& add) {
    add(0, 3);
    add(3, 4, 7);
    add(4, 7);
    add(5, 5, 8);  // swallowed: dropped
  });
  REQUIRE(pieces.list().size() == 3);
  CHECK(pieces.list()[0].at_start);
  CHECK(pieces.list()[1].token == 7);
  CHECK_FALSE(pieces.list()[2].at_start);
  pieces.rewrite([](std::string_view text, bool at_start, std::string& out) {
    if (!at_start) out.append(text).append("!");
  });
  REQUIRE(pieces.list().size() == 2);
  CHECK(pieces.list()[0].token == 7);
  CHECK(pieces.text(pieces.list()[1]) == "two!");
}

}  // namespace hone
