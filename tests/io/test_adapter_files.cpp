#include <hone/io/adapter_files.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "support/files.hpp"

using hone::AdapterConfig;
using hone::AdapterKey;
using hone::test::contains;
using hone::test::message_of;
using Json = nlohmann::json;

namespace {

AdapterConfig read(const std::string& text) {
  return hone::adapter_config_from_json(hone::parse_json(text, "adapter_config.json"), "adapter_config.json");
}
std::string refused(const std::string& text) {
  return message_of([&] { hone::refuse_unsupported(read(text)); });
}

}  // namespace

TEST_CASE("adapter_files: PEFT's smallest config, and its defaults") {
  const auto config = read(R"({"peft_type":"LORA","target_modules":["q_proj","v_proj"]})");
  CHECK(config.r == 8);
  CHECK(config.lora_alpha == 8.0);
  CHECK(config.target_modules == std::vector<std::string>{"q_proj", "v_proj"});
  CHECK_FALSE(config.target_pattern.has_value());
  CHECK(config.other.empty());
  CHECK_NOTHROW(hone::refuse_unsupported(config));
  CHECK(read(R"({"peft_type":"LORA","target_modules":"all-linear"})").target_pattern == "all-linear");
  CHECK(read(R"({"peft_type":"LORA","target_modules":null})").target_modules.empty());
}

TEST_CASE("adapter_files: unknown keys are kept, known ones survive a round trip") {
  const auto config = read(
      R"({"peft_type":"LORA","task_type":null,"base_model_name_or_path":"org/base","r":4,"lora_alpha":6.5,"lora_dropout":0.1,
          "target_modules":["q_proj"],"use_rslora":true,"rank_pattern":{"k_proj":2},"alpha_pattern":{"k_proj":3},
          "inference_mode":false,"peft_version":"0.18.0","loftq_config":{},"future":{"a":[1]}})");
  CHECK(config.other == Json::parse(R"({"peft_version":"0.18.0","loftq_config":{},"future":{"a":[1]}})"));
  const auto json = hone::adapter_config_to_json(config);
  CHECK(json["inference_mode"] == true);
  CHECK(json["future"]["a"][0] == 1);
  CHECK(json["task_type"].is_null());
  const auto again = hone::adapter_config_from_json(json, "again");
  CHECK(hone::adapter_config_to_json(again) == json);
  CHECK(again.r == 4);
  CHECK(again.lora_alpha == 6.5);
  CHECK(again.use_rslora);
  CHECK(again.rank_pattern == hone::ModulePatterns<std::int64_t>{{"k_proj", 2}});
}

TEST_CASE("adapter_files: a plain LoRA is written with keys every PEFT knows") {
  const hone::test::TemporaryFolder folder;
  AdapterConfig config;
  config.target_modules = {"q_proj"};
  config.lora_alpha = 16;
  hone::write_adapter_config(folder.path(), config);
  const auto json = hone::read_json_file(folder / "adapter_config.json");
  const std::set<std::string> first_release{"peft_type",      "task_type",         "base_model_name_or_path",
                                            "revision",       "inference_mode",    "r",
                                            "lora_alpha",     "lora_dropout",      "bias",
                                            "fan_in_fan_out", "init_lora_weights", "target_modules",
                                            "modules_to_save"};
  for (const auto& item : json.items()) CHECK_MESSAGE(first_release.contains(item.key()), item.key());
  CHECK(json.size() == first_release.size());
  CHECK(json["lora_alpha"].is_number_integer());
  CHECK(hone::read_adapter_config(folder.path()).lora_alpha == 16.0);
  CHECK(contains(message_of([&] { hone::read_adapter_config(folder / "none"); }),
                 "adapter_config.json] cannot be opened"));
}

TEST_CASE("adapter_files: features hone lacks are refused by name") {
  const auto with = [](const std::string& more) { return R"({"peft_type":"LORA",)" + more + "}"; };
  CHECK(refused(R"({"peft_type":"IA3"})") == "[adapter_config.json] peft_type \"IA3\" is not supported; LORA is");
  CHECK(contains(refused(with(R"("bias":"all")")), "bias \"all\""));
  CHECK(contains(refused(with(R"("fan_in_fan_out":true)")), "fan_in_fan_out"));
  CHECK(contains(refused(with(R"("init_lora_weights":"pissa")")), "init_lora_weights \"pissa\""));
  CHECK(contains(refused(with(R"("layer_replication":[[0,4]])")), "layer_replication"));
  CHECK(contains(refused(with(R"("lora_bias":true)")), "lora_bias"));
  CHECK_NOTHROW(hone::refuse_unsupported(read(with(R"("use_dora":true,"modules_to_save":["lm_head"])"))));
  CHECK_NOTHROW(hone::refuse_unsupported(read(with(
      R"("lora_bias":false,"layer_replication":null,"trainable_token_indices":null,"target_parameters":[],"init_lora_weights":"gaussian")"))));
}

TEST_CASE("adapter_files: values of the wrong kind name file and key") {
  for (const std::string bad :
       {R"({"peft_type":"LORA","r":0})", R"({"peft_type":"LORA","r":"8"})", R"({"r":8})",
        R"({"peft_type":"LORA","target_modules":[1]})", R"({"peft_type":"LORA","lora_dropout":2})",
        R"({"peft_type":"LORA","rank_pattern":{"q":0}})", R"({"peft_type":"LORA","target_modules":5})", "[]"}) {
    CAPTURE(bad);
    CHECK(contains(message_of([&] { read(bad); }), "[adapter_config.json] \""));
  }
}

TEST_CASE("adapter_files: rank and scale follow the first pattern that matches, in the file's order") {
  const hone::test::TemporaryFolder folder;
  // Sorted by name, "layers..." would come before "q_proj".
  hone::write_file(folder / "adapter_config.json",
                   R"({"rank_pattern":{"layers.1.self_attn.q_proj":2,"q_proj":4,"layers\\.[12]\\..*":3,"^lm_head":1},
          "peft_type":"LORA","r":8,"lora_alpha":16,"alpha_pattern":{"q_proj":2,"layers.1.self_attn.q_proj":7},
          "future":{"q_proj":1}})");
  const auto config = hone::read_adapter_config(folder.path());
  CHECK(hone::adapter_rank(config, "model.layers.0.self_attn.v_proj") == 8);
  CHECK(hone::adapter_rank(config, "model.layers.0.self_attn.q_proj") == 4);
  CHECK(hone::adapter_rank(config, "model.layers.1.self_attn.q_proj") == 2);
  CHECK(hone::adapter_rank(config, "model.layers.11.self_attn.q_proj") == 4);
  CHECK(hone::adapter_rank(config, "model.layers.2.self_attn.q_proj") == 4);
  CHECK(hone::adapter_rank(config, "model.layers.2.self_attn.v_proj") == 3);
  CHECK(hone::adapter_alpha(config, "model.layers.1.self_attn.q_proj") == 2);
  CHECK(hone::adapter_rank(config, "model.xq_proj") == 8);
  CHECK(hone::adapter_rank(config, "lm_head") == 1);
  CHECK(hone::adapter_rank(config, "model.lm_head") == 8);
  CHECK(hone::adapter_scale(config, "model.layers.0.self_attn.v_proj") == 2.0);
  CHECK(hone::adapter_scale(config, "model.layers.0.self_attn.q_proj") == 0.5);
  auto stabilised = config;
  stabilised.use_rslora = true;
  CHECK(hone::adapter_scale(stabilised, "model.layers.0.self_attn.v_proj") == 16 / std::sqrt(8.0));
}

TEST_CASE("adapter_files: tensor names") {
  const std::string module = "model.layers.0.self_attn.q_proj";
  CHECK(hone::adapter_tensor_name({module, "lora_A"}) ==
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  CHECK(hone::adapter_tensor_name({"model.embed_tokens", "lora_embedding_A"}) ==
        "base_model.model.model.embed_tokens.lora_embedding_A");
  for (const auto part : hone::adapter_parts) {
    const AdapterKey key{module, std::string(part)};
    CHECK(hone::parse_adapter_tensor_name(hone::adapter_tensor_name(key)) == key);
  }
  CHECK(hone::parse_adapter_tensor_name("base_model.model.m.lora_B.default.weight") == AdapterKey{"m", "lora_B"});
  CHECK(hone::parse_adapter_tensor_name("base_model.model.lm_head.weight") == std::nullopt);
  CHECK(hone::parse_adapter_tensor_name("model.layers.0.q_proj.lora_A.weight") == std::nullopt);
  CHECK(hone::parse_adapter_tensor_name("base_model.model.lora_A.weight") == std::nullopt);
  CHECK(hone::parse_adapter_tensor_name("base_model.model.m.lora_Almost.weight") == std::nullopt);
}
