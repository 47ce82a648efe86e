#include <hone/core/name_pattern.hpp>

#include <doctest/doctest.h>

#include <array>
#include <random>
#include <regex>
#include <string>

#include "support/files.hpp"

using hone::NamePattern;
using hone::test::contains;
using hone::test::message_of;

namespace {

bool matches(const char* pattern, const char* name) { return NamePattern(pattern).matches(name); }

}  // namespace

TEST_CASE("name_pattern: what PEFT's configurations hold") {
  const char* q = "model.layers.11.self_attn.q_proj";
  for (const char* pattern :
       {".*q_proj", R"(model\.layers\.(?:1[0-5]|2)\.self_attn\.[qk]_proj)", R"(.*\.(?P<part>q|v)_proj)",
        R"(^model\..*proj$)", R"(model\.layers\.\d{1,2}\..*?_proj)", R"((?!.*mlp).*)", R"(.*(?=q_proj).*)",
        R"(\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|k_proj)))", R"((.*\.)?(self_attn.q_proj)$)",
        R"(model(?:\.\w+){4})", R"([^v]*)", R"(.{32})", R"(.{32,})", R"(.{,32})", R"(()*.*)"})
    CHECK_MESSAGE(matches(pattern, q), pattern);
  for (const char* pattern : {"q_proj", R"(.*\.(k|v)_proj)", R"(model\.layers\.\d\..*)", R"((?!.*attn).*)", ".{31}",
                              R"(.*(?=q_proj))", R"(\Bmodel.*)", R"((^lm_head|^q_proj))", "", "[^q]*"})
    CHECK_FALSE_MESSAGE(matches(pattern, q), pattern);
  CHECK(matches("a{b}", "a{b}"));
  CHECK(matches("[]a-]+", "]-a"));
  CHECK(matches(R"([\w.]+)", q));
  CHECK(matches("", ""));
  CHECK(matches("(a|)b?", "a"));
}

TEST_CASE("name_pattern: a pattern that makes a backtracking engine run forever is as quick as any") {
  CHECK_FALSE(NamePattern("(a+)+(a*)*b").matches(std::string(200, 'a')));
  CHECK(NamePattern("(a+)+(a*)*b").matches(std::string(200, 'a') + 'b'));
}

TEST_CASE("name_pattern: random patterns agree with std::regex") {
  std::mt19937 engine(7);
  const auto draw = [&](std::size_t count) { return engine() % count; };
  const std::array<std::string, 9> atoms = {"a", "b", ".", "[ab]", "[^a]", "(a|bc)", "(?:ab|)", "(?!b)", "(?=a|c)"};
  const std::array<std::string, 7> counts = {"", "", "*", "+", "?", "{2}", "{1,3}"};
  int matched = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::string pattern, name;
    for (std::size_t i = 0; i < 1 + draw(4); ++i) {
      const std::size_t atom = draw(atoms.size());
      pattern += atoms[atom];
      if (atom < 7) pattern += counts[draw(counts.size())];
    }
    for (std::size_t i = 0; i < draw(7); ++i) name += static_cast<char>('a' + draw(3));
    const bool wanted = std::regex_match(name, std::regex(pattern));
    CAPTURE(pattern);
    CAPTURE(name);
    CHECK(NamePattern(pattern).matches(name) == wanted);
    matched += wanted ? 1 : 0;
  }
  CHECK(matched > 40);
  CHECK(matched < 360);
}

TEST_CASE("name_pattern: what it does not read is refused, not misread") {
  const auto refused = [](const std::string& pattern) { return message_of([&] { NamePattern{pattern}; }); };
  for (const char* pattern : {R"((a)\1)", "(?<=a)b", "(?i)a", "a++", "*a", "a**", "(a", "a)", "[a", "[b-a]", "a\\",
                              R"(\q)", "a{3,2}", "a{2000}", "(?P<n"})
    CHECK_MESSAGE(contains(refused(pattern), "[pattern] '"), pattern);
  CHECK(contains(refused(std::string(100, '(')), "nest deeper than 64"));
}
