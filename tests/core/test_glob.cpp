#include <hone/core/glob.hpp>

#include <doctest/doctest.h>

using hone::Glob;

TEST_CASE("glob: stars, question marks, braces") {
  const std::string name = "model.layers.10.self_attn.q_proj";
  for (const char* pattern : {"*", "**", "*q_proj", "*.q_proj", "model.*", "model.layers.10.self_attn.q_proj",
                              "*.{q,v}_proj", "*.layers.1?.*", "*{.q_proj,.k_proj}", "*.{a,b,self_attn}.{q,k}_proj",
                              "*{,x}", "{model,other}.*.?_proj", "*_attn*_*"})
    CHECK_MESSAGE(Glob(pattern).matches(name), pattern);
  for (const char* pattern : {"", "q_proj", "*.{k,v}_proj", "model.layers.1?", "*.layers.?.*", "*q_proj?", "x*",
                              "*.q_pro", "*{}x", "model.layers.10.self_attn.q_proj.*"})
    CHECK_FALSE_MESSAGE(Glob(pattern).matches(name), pattern);
}

TEST_CASE("glob: edges") {
  CHECK(Glob("").matches(""));
  CHECK(Glob("*").matches(""));
  CHECK_FALSE(Glob("?").matches(""));
  CHECK(Glob("a{}b").matches("ab"));
  CHECK(Glob("a{,b}").matches("a"));
  CHECK(Glob("a{,b}").matches("ab"));
  CHECK(Glob("*a*b*c").matches("xaybzabc"));
  CHECK_FALSE(Glob("*a*b*c").matches("xcybza"));
  CHECK(Glob("*aab").matches("aaaaaab"));
  CHECK(Glob("a*").matches("a*"));
}

TEST_CASE("glob: unbalanced and endless braces are refused") {
  CHECK_THROWS_WITH(Glob("*.{q,v"), "[glob] '*.{q,v' has an opening brace without a closing one");
  CHECK_THROWS_WITH(Glob("q}_proj"), "[glob] 'q}_proj' has a closing brace without an opening one");
  CHECK_THROWS_WITH(Glob("{a,{b,c}}"), "[glob] '{a,{b,c}}' nests braces, which is not supported");
  std::string many;
  for (int i = 0; i < 13; ++i) many += "{a,b}";
  CHECK_THROWS_AS(Glob{many}, hone::Error);
}
