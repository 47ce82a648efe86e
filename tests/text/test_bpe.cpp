#include <hone/text/bpe.hpp>

#include "support/files.hpp"
#include "text/fixtures.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace hone {

namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

/// The definition: find the pair of lowest rank, of several the leftmost, join it, begin again.
std::vector<std::string> merged_by_definition(std::vector<std::string> word, const Merges& merges) {
  std::map<std::pair<std::string, std::string>, std::size_t> ranks;
  for (std::size_t i = 0; i < merges.size(); ++i) ranks[merges[i]] = i;  // of a merge given twice, the last counts
  while (true) {
    std::size_t best = merges.size(), at = 0;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const auto found = ranks.find({word[i], word[i + 1]});
      if (found != ranks.end() && found->second < best) {
        best = found->second;
        at = i;
      }
    }
    if (best == merges.size()) return word;
    word[at] += word[at + 1];
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

Vocabulary vocabulary_of(const std::vector<std::string>& tokens) {
  Vocabulary out;
  for (std::size_t i = 0; i < tokens.size(); ++i) out.add(tokens[i], static_cast<std::int32_t>(i), "test");
  return out;
}

std::vector<std::string> encoded(const Bpe& bpe, const std::string& text, BpeScratch& scratch) {
  std::vector<std::int32_t> ids;
  bpe.encode(text, scratch, ids);
  std::vector<std::string> out;
  for (const auto id : ids) out.push_back(*bpe.vocabulary().text(id));
  return out;
}

}  // namespace

TEST_CASE("bpe: the fast merge is the definition, on random merges, words and long texts") {
  std::mt19937 random(3);
  const std::vector<std::string> alphabet{"a", "b", "c", "é", "中", "▁"};
  for (int round = 0; round < 60; ++round) {
    auto tokens = alphabet;
    Merges merges;
    for (std::size_t i = random() % 40; i > 0; --i) {
      const auto& left = tokens[random() % tokens.size()];
      const auto& right = tokens[random() % tokens.size()];
      if (left.size() + right.size() > 12) continue;
      merges.emplace_back(left, right);
      const auto joined = left + right;
      if (std::find(tokens.begin(), tokens.end(), joined) == tokens.end()) tokens.push_back(joined);
    }
    const Bpe bpe(vocabulary_of(tokens), merges, {}, "test");
    BpeScratch scratch;
    for (int i = 0; i < 30; ++i) {
      // Above 64 bytes the text is cut where no merge reaches across.
      std::vector<std::string> characters(1 + random() % (i % 3 == 0 ? 120 : 12));
      std::string text;
      for (auto& c : characters) text += c = alphabet[random() % alphabet.size()];
      REQUIRE(encoded(bpe, text, scratch) == merged_by_definition(characters, merges));
    }
  }
}

TEST_CASE("bpe: remembering words changes nothing, beyond the memory's end too") {
  const Bpe bpe(vocabulary_of({"a", "b", "ab", "ba"}), {{"a", "b"}, {"b", "a"}}, {}, "test");
  BpeScratch used;
  for (std::uint32_t i = 0; i < 70000; ++i) {
    std::string word;
    for (std::uint32_t bits = i + 2; bits > 1; bits /= 2) word += bits % 2 == 0 ? 'a' : 'b';
    std::vector<std::int32_t> first, again;
    bpe.encode(word, used, first);
    if (i % 997 != 0) continue;
    BpeScratch fresh;
    bpe.encode(word, fresh, again);
    REQUIRE(first == again);
  }
}

TEST_CASE("bpe: unknown characters") {
  const auto tokens = [](BpeSettings settings, const std::string& text) {
    const Bpe bpe(vocabulary_of({"?", "a", "<0xC3>", "<0xA9>", "aa"}), {{"a", "a"}}, settings, "test");
    BpeScratch scratch;
    return encoded(bpe, text, scratch);
  };
  using Texts = std::vector<std::string>;
  CHECK(tokens({.unknown = 0}, "axyaa") == Texts{"a", "?", "?", "aa"});
  CHECK(tokens({.unknown = 0, .fuse_unknown = true}, "axyaz") == Texts{"a", "?", "a", "?"});
  // Without a token for them they vanish, and what stood around them meets.
  CHECK(tokens({}, "axa") == Texts{"aa"});
  CHECK(tokens({.byte_fallback = true}, "aé") == Texts{"a", "<0xC3>", "<0xA9>"});
  // Fallback needs all bytes of the character.
  CHECK(tokens({.unknown = 0, .byte_fallback = true}, "aè") == Texts{"a", "?"});
}

TEST_CASE("bpe: ignore_merges takes a piece that is a token as it is") {
  const auto build = [](bool ignore) {
    return Bpe(vocabulary_of({"a", "b", "c", "ab", "abc"}), {{"a", "b"}}, {.ignore_merges = ignore}, "test");
  };
  BpeScratch first, second;
  CHECK(encoded(build(false), "abc", first) == std::vector<std::string>{"ab", "c"});
  CHECK(encoded(build(true), "abc", second) == std::vector<std::string>{"abc"});
}

TEST_CASE("bpe: merges of unknown tokens are refused by number") {
  const auto refusal = [](Merges merges) {
    return test::message_of([&] { Bpe(vocabulary_of({"a", "b", "ab"}), merges, {}, "f.json model"); });
  };
  CHECK(refusal({{"a", "b"}, {"a", "x"}}) ==
        "[f.json model] merges[1] (\"a\" + \"x\"): \"x\" is not in the vocabulary");
  CHECK(test::contains(refusal({{"b", "a"}}), "\"ba\" is not in the vocabulary"));
  CHECK(test::contains(refusal({{"a", ""}}), "empty part"));
}

}  // namespace hone
