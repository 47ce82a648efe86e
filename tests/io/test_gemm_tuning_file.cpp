#include <hone/io/gemm_tuning_file.hpp>

#include "support/files.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace hone;
using hone::test::contains;
using hone::test::message_of;

namespace {

gpu::GemmTuning example() {
  gpu::GemmTuning out;
  out.origin = {"NVIDIA H100 \"80GB\" HBM3", 90, 13000, "cuBLASLt 130100"};
  const gpu::GemmShape plain{.a_type = DType::bf16,
                             .b_type = DType::bf16,
                             .c_type = DType::bf16,
                             .m = 4096,
                             .n = 896,
                             .k = 4864,
                             .lda = 4864,
                             .ldb = 4864,
                             .ldc = 1152,
                             .transpose_b = true,
                             .workspace_bytes = 1 << 25};
  auto added = plain;
  added.c_type = DType::f32;
  added.accumulate = true;
  out.choices[plain] = {"id 66, tile 20", 0.1, 0.125};
  out.choices[added] = {"", 0.25, 0.25};
  return out;
}

/// The example's file with the first `old` replaced.
std::string changed(std::string_view old, std::string_view by) {
  std::string text = gemm_tuning_text(example());
  const auto at = text.find(old);
  REQUIRE(at != text.npos);
  return text.replace(at, old.size(), by);
}

}  // namespace

TEST_CASE("gemm_tuning_file: what is written is read") {
  const test::TemporaryFolder folder;
  const auto tuning = example();
  write_gemm_tuning(tuning, folder / "tune.json");
  const auto back = read_gemm_tuning(folder / "tune.json");
  CHECK(back.origin == tuning.origin);
  REQUIRE(back.choices.size() == 2);
  for (const auto& [shape, choice] : tuning.choices) {
    REQUIRE(back.choices.contains(shape));
    const auto& read = back.choices.at(shape);
    CHECK(read.algorithm == choice.algorithm);
    CHECK(read.milliseconds == choice.milliseconds);
    CHECK(read.first_milliseconds == choice.first_milliseconds);
  }
  CHECK(gemm_tuning_text(back) == test::get(folder / "tune.json"));
  CHECK(parse_gemm_tuning(gemm_tuning_text({tuning.origin, {}}), "none").choices.empty());
}

TEST_CASE("gemm_tuning_file: the hash is that of the choices, not of how long they took") {
  const auto tuning = example();
  auto other = tuning;
  other.choices.begin()->second.milliseconds = 9;
  CHECK(hash_of(other) == hash_of(tuning));
  other.choices.begin()->second.algorithm = "id 67";
  CHECK(hash_of(other) != hash_of(tuning));
  other = tuning;
  other.origin.driver = 13010;
  CHECK(hash_of(other) != hash_of(tuning));
  other = tuning;
  other.choices.erase(other.choices.begin());
  CHECK(hash_of(other) != hash_of(tuning));
}

TEST_CASE("gemm_tuning_file: hostile files get a sentence") {
  struct Case {
    std::string text, says;
  };
  const std::string whole = gemm_tuning_text(example());
  const auto first = whole.find("\n  {"), second = whole.find(",\n  {");
  const std::string line = whole.substr(first, second - first);
  const std::string twice = changed(line, line + "," + line);
  for (const Case& one : {
           Case{"", "[t] byte 1: not valid JSON"},
           {"[]", "\"hone_gemm_tuning\" was looked for in an array"},
           {"{}", "\"hone_gemm_tuning\" is missing"},
           {whole.substr(0, whole.size() / 2), "not valid JSON"},
           {changed("\"hone_gemm_tuning\": 1", "\"hone_gemm_tuning\": 2"),
            "[t] is of version 2; this program reads version 1"},
           {changed("\"sm\": 90", "\"sm\": -1"), "\"sm\" is -1; 0 to 10000 was expected"},
           {changed("\"driver\": 13000", "\"driver\": \"13000\""), "\"driver\" is \"13000\"; an integer was expected"},
           {changed("cuBLASLt 130100", ""), "\"library\" is \"\"; 1 to 100 printable characters were expected"},
           {changed("cuBLASLt 130100", "\\u001b[31m"), "printable characters were expected"},
           {changed("cuBLASLt 130100", std::string(101, 'x')), "printable characters were expected"},
           {changed("\"products\"", "\"product\""), "\"products\" is missing"},
           {changed("\"a_type\":\"bfloat16\"", "\"a_type\":\"int8\""),
            "\"a_type\" is 'int8'; float32 or bfloat16 was expected"},
           {changed("\"a_type\":\"bfloat16\"", "\"a_type\":\"float32\""), "is none that a GEMM library is asked for"},
           {changed("\"m\":4096", "\"m\":0"), ", product 1] \"m\" is 0; 1 to 2147483648 was expected"},
           {changed("\"m\":4096", "\"m\":1e99"), "\"m\" is 1e+99; an integer was expected"},
           {changed("\"m\":4096", "\"m\":99999999999999999999"), "\"m\" is"},
           {changed("\"m\":4096", "\"m\":1,\"m\":1"), "key \"m\" is given twice"},
           {changed("\"lda\":4864", "\"lda\":4863"), "\"lda\" is 4863; 4864 to 2147483648 was expected"},
           {changed("\"ldb\":4864", "\"ldb\":1"), "\"ldb\" is 1; 4864 to"},
           {changed("\"ldc\":1152", "\"ldc\":895"), "\"ldc\" is 895; 896 to"},
           {changed("\"transpose_b\":true", "\"transpose_b\":1"), "\"transpose_b\" is 1; true or false was expected"},
           {changed("\"workspace_bytes\":33554432", "\"workspace_bytes\":-1"), "\"workspace_bytes\" is -1"},
           {changed("id 66, tile 20", ""), "\"algorithm\" is \"\""},
           {changed("\"milliseconds\":0.1", "\"milliseconds\":-1"), "\"milliseconds\" is -1"},
           {twice, "[t, product 2] a product of 4096 x 896 x 4864 is given twice"},
       }) {
    CAPTURE(one.says);
    const auto message = message_of([&] { parse_gemm_tuning(one.text, "t"); });
    CAPTURE(message);
    CHECK(message.starts_with("[t"));
    CHECK(contains(message, one.says));
  }
  CHECK(contains(message_of([&] { read_gemm_tuning("/nowhere/tune.json"); }), "/nowhere/tune.json"));
}
