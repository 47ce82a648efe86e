#include <hone/models/generation_config.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/data.hpp"
#include "support/files.hpp"

using hone::generation_config_from_json;
using hone::parse_json;
using hone::test::contains;
using hone::test::message_of;

TEST_CASE("generation_config: every key is optional") {
  const auto empty = generation_config_from_json(parse_json("{}", "g"), "g");
  CHECK(empty.eos_token_ids.empty());
  CHECK_FALSE(empty.temperature.has_value());
  const auto full = generation_config_from_json(
      parse_json(
          R"({"bos_token_id":1,"eos_token_id":[2,3],"pad_token_id":null,"do_sample":true,"temperature":0.6,"top_k":20,
                     "top_p":0.9,"repetition_penalty":1.1,"max_new_tokens":7,"transformers_version":"4"})",
          "g"),
      "g");
  CHECK(full.bos_token_id == 1);
  CHECK(full.eos_token_ids == std::vector<std::int64_t>{2, 3});
  CHECK(full.pad_token_id == std::nullopt);
  CHECK(full.do_sample == true);
  CHECK(full.temperature == 0.6);
  CHECK(full.top_k == 20);
  CHECK(full.top_p == 0.9);
  CHECK(full.repetition_penalty == 1.1);
  CHECK(full.max_new_tokens == 7);
}

TEST_CASE("generation_config: values out of range name file and key") {
  for (const std::string bad :
       {R"({"temperature":-1})", R"({"top_p":1.5})", R"({"top_k":-1})", R"({"repetition_penalty":0})",
        R"({"max_new_tokens":0})", R"({"eos_token_id":["x"]})", R"({"do_sample":1})", "[]"}) {
    CAPTURE(bad);
    CHECK(contains(message_of([&] { generation_config_from_json(parse_json(bad, "g"), "g"); }), "[g] \""));
  }
}

TEST_CASE("generation_config: from a folder, or nothing when the folder has none") {
  const hone::test::TemporaryFolder folder;
  CHECK(hone::read_generation_config(folder.path()).eos_token_ids.empty());
  const auto data = hone::test::shared_data();
  if (!data) return hone::test::skip("generation_config: real checkpoint", "no shared data");
  CHECK(hone::read_generation_config(*data / "stories260K").eos_token_ids == std::vector<std::int64_t>{1, 2});
}
