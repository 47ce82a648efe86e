#include <hone/models/llama_config_file.hpp>

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "support/data.hpp"
#include "support/files.hpp"

using hone::LlamaConfig;
using hone::test::contains;
using hone::test::message_of;
using Json = nlohmann::json;

namespace {

/// The keys every family needs, and `more` on top.
Json config_of(const std::string& model_type, const Json& more = Json::object()) {
  Json json = {{"model_type", model_type}, {"hidden_size", 64},
               {"intermediate_size", 96},  {"num_hidden_layers", 4},
               {"num_attention_heads", 8}, {"num_key_value_heads", 4},
               {"vocab_size", 100},        {"rms_norm_eps", 1e-5},
               {"hidden_act", "silu"},     {"max_position_embeddings", 256}};
  json.update(more);
  return json;
}
LlamaConfig read(const Json& json) { return hone::llama_config_from_json(json, "config.json"); }
std::string refused(const Json& json) {
  return message_of([&] { read(json); });
}
Json without(Json json, const std::string& key) {
  json.erase(key);
  return json;
}

}  // namespace

TEST_CASE("llama_config_file: the families' switches") {
  const auto llama = read(config_of("llama"));
  CHECK(llama.head_dim == 8);
  CHECK_FALSE(llama.qkv_bias);
  CHECK_FALSE(llama.attention_bias);
  CHECK_FALSE(llama.qk_norm);
  CHECK_FALSE(llama.tie_word_embeddings);
  CHECK(llama.rope_theta == 10000.0);
  CHECK(llama.architectures == std::vector<std::string>{"LlamaForCausalLM"});
  CHECK(read(config_of("llama", {{"attention_bias", true}})).qkv_bias);
  CHECK(read(config_of("llama", {{"attention_bias", true}})).attention_bias);
  CHECK(read(without(config_of("llama"), "num_key_value_heads")).num_key_value_heads == 8);

  const auto qwen2 = read(config_of("qwen2", {{"tie_word_embeddings", true}, {"rope_theta", 1000000}}));
  CHECK(qwen2.qkv_bias);
  CHECK_FALSE(qwen2.attention_bias);
  CHECK(qwen2.tie_word_embeddings);
  CHECK(qwen2.rope_theta == 1e6);

  const auto qwen3 = read(config_of("qwen3"));
  CHECK(qwen3.qk_norm);
  CHECK(qwen3.head_dim == 128);
  CHECK_FALSE(qwen3.qkv_bias);
  CHECK(read(config_of("qwen3", {{"head_dim", 16}})).head_dim == 16);
}

TEST_CASE("llama_config_file: sliding windows are mistral's, and qwen's when asked for") {
  CHECK(read(config_of("llama", {{"sliding_window", 16}})).sliding_window == std::nullopt);
  CHECK(read(config_of("mistral")).sliding_window == 4096);
  CHECK(read(config_of("mistral", {{"sliding_window", nullptr}})).sliding_window == std::nullopt);
  CHECK(read(config_of("mistral", {{"sliding_window", 16}})).window_of_layer(0) == 16);
  CHECK(read(config_of("qwen2", {{"sliding_window", 16}})).sliding_window == std::nullopt);
  const auto qwen =
      read(config_of("qwen2", {{"sliding_window", 16}, {"use_sliding_window", true}, {"max_window_layers", 3}}));
  CHECK(qwen.window_of_layer(2) == 0);
  CHECK(qwen.window_of_layer(3) == 16);
  const Json types = {"full_attention", "full_attention", "full_attention", "sliding_attention"};
  CHECK_NOTHROW(read(config_of(
      "qwen3",
      {{"sliding_window", 16}, {"use_sliding_window", true}, {"max_window_layers", 3}, {"layer_types", types}})));
  CHECK(contains(refused(config_of("qwen3", {{"layer_types", types}})), "layer_types[3] is \"sliding_attention\""));
  CHECK(contains(refused(config_of("qwen3", {{"layer_types", {"full_attention"}}})), "1 entries for 4 layers"));
}

TEST_CASE("llama_config_file: rope in all its spellings") {
  const Json llama3 = {
      {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 128}};
  const auto with = [&](const char* outer, const char* inner, const char* type, Json more = Json::object()) {
    auto rope = llama3;
    rope[inner] = type;
    rope.update(more);
    return config_of("llama", {{outer, rope}});
  };
  const hone::Llama3RopeScaling expected{8.0, 1.0, 4.0, 128};
  CHECK(read(with("rope_scaling", "rope_type", "llama3")).rope_scaling == expected);
  CHECK(read(with("rope_scaling", "type", "llama3")).rope_scaling == expected);
  const auto parameters = read(with("rope_parameters", "rope_type", "llama3", {{"rope_theta", 500000.0}}));
  CHECK(parameters.rope_scaling == expected);
  CHECK(parameters.rope_theta == 500000.0);
  CHECK(read(config_of("llama", {{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7.0}}}})).rope_theta ==
        7.0);
  CHECK(read(config_of("llama", {{"rope_scaling", nullptr}})).rope_scaling == std::nullopt);
  for (const auto* type : {"linear", "dynamic", "yarn", "longrope", "mrope"})
    CHECK(contains(refused(with("rope_scaling", "rope_type", type)), "\"" + std::string(type) + "\" is not supported"));
  CHECK(contains(refused(config_of("llama", {{"rope_scaling", {{"factor", 2.0}}}})),
                 "rope_scaling.rope_type is missing"));
  CHECK(contains(refused(config_of("llama", {{"rope_scaling", {{"rope_type", "llama3"}}}})), "\"factor\" is missing"));
  CHECK(contains(refused(config_of("llama", {{"rope_parameters", {{"partial_rotary_factor", 0.5}}}})),
                 "partial_rotary_factor"));
}

TEST_CASE("llama_config_file: token ids and types") {
  const auto config = read(config_of(
      "llama", {{"bos_token_id", 1}, {"eos_token_id", {2, 5}}, {"pad_token_id", -1}, {"torch_dtype", "bfloat16"}}));
  CHECK(config.bos_token_id == 1);
  CHECK(config.eos_token_ids == std::vector<std::int64_t>{2, 5});
  CHECK(config.pad_token_id == std::nullopt);
  CHECK(config.torch_dtype == hone::DType::bf16);
  CHECK(read(config_of("llama", {{"eos_token_id", 2}, {"dtype", "float16"}})).torch_dtype == hone::DType::f16);
  CHECK(read(config_of("llama", {{"eos_token_id", nullptr}})).eos_token_ids.empty());
  CHECK(contains(refused(config_of("llama", {{"eos_token_id", "x"}})), "\"eos_token_id\" is \"x\""));
  CHECK(contains(refused(config_of("llama", {{"torch_dtype", "float8_e4m3fn"}})), "float8_e4m3fn"));
}

TEST_CASE("llama_config_file: quantization_config goes through, and the head stays on a list of what is skipped") {
  for (const hone::Quantisation& how :
       {hone::Quantisation{}, hone::Quantisation{.double_quant = false, .skip_modules = {"down_proj", "lm_head"}},
        hone::Quantisation{.type = hone::QuantType::int8, .double_quant = false}}) {
    auto config = read(config_of("llama"));
    config.quantization = how;
    CHECK(read(hone::llama_config_to_json(config)) == config);
  }
  auto config = read(config_of("llama"));
  config.quantization = hone::Quantisation{.skip_modules = {"q_proj"}};
  CHECK(hone::llama_config_to_json(config)["quantization_config"]["llm_int8_skip_modules"] ==
        nlohmann::json{"q_proj", "lm_head"});
}

TEST_CASE("llama_config_file: what hone lacks is refused by name, nonsense by key") {
  CHECK(refused(config_of("gemma2")) ==
        "[config.json] model_type \"gemma2\" is not supported; hone knows llama, mistral, qwen2, qwen3");
  CHECK(contains(refused(config_of("llama", {{"mlp_bias", true}})), "mlp_bias is not supported"));
  CHECK(contains(refused(config_of("llama", {{"hidden_act", "gelu"}})), "hidden_act \"gelu\""));
  const auto quantised = [](const nlohmann::json& json) { return config_of("llama", {{"quantization_config", json}}); };
  CHECK(contains(refused(quantised({{"bits", 4}, {"quant_method", "gptq"}})), "quant_method \"gptq\""));
  CHECK(contains(refused(quantised({{"load_in_4bit", true}, {"load_in_8bit", true}})), "one of load_in_4bit"));
  CHECK(contains(refused(quantised({{"load_in_4bit", true}})), "bnb_4bit_quant_type \"fp4\" is not supported"));
  CHECK(
      contains(refused(quantised({{"load_in_8bit", true}, {"llm_int8_skip_modules", {"layers.*"}}})), "is a pattern"));
  CHECK(contains(refused(without(config_of("llama"), "hidden_size")), "\"hidden_size\" is missing"));
  CHECK(contains(refused(without(config_of("llama"), "model_type")), "\"model_type\" is missing"));
  CHECK(contains(refused(config_of("llama", {{"hidden_size", 65}})), "hidden_size (65) must be a multiple"));
  CHECK(contains(refused(config_of("llama", {{"num_hidden_layers", 0}})), "\"num_hidden_layers\" is 0"));
  CHECK(contains(refused(config_of("llama", {{"num_key_value_heads", 3}})), "num_key_value_heads (3)"));
  CHECK(contains(refused(config_of("llama", {{"vocab_size", 4e9}})), "an integer was expected"));
  CHECK(contains(refused(Json::array()), "not in an object"));
}

TEST_CASE("llama_config_file: what is written reads back as the same model") {
  const Json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 128}};
  for (const auto& json :
       {config_of(
            "llama",
            {{"rope_scaling", llama3}, {"attention_bias", true}, {"eos_token_id", {2, 5}}, {"torch_dtype", "float32"}}),
        config_of("mistral"), config_of("mistral", {{"sliding_window", nullptr}, {"head_dim", 16}}),
        config_of("qwen2", {{"tie_word_embeddings", true}, {"bos_token_id", 7}}),
        config_of("qwen2", {{"use_sliding_window", true}, {"sliding_window", 9}, {"max_window_layers", 1}}),
        config_of("qwen3", {{"architectures", {"Qwen3ForCausalLM"}}, {"pad_token_id", 3}})}) {
    const auto config = read(json);
    CHECK(read(hone::llama_config_to_json(config)) == config);
  }
}

TEST_CASE("llama_config_file: random values give a valid model or a sentence") {
  std::mt19937_64 random(5);
  const std::vector<Json> values{0,
                                 1,
                                 2,
                                 3,
                                 8,
                                 64,
                                 -1,
                                 2147483647,
                                 2147483648,
                                 18446744073709551615u,
                                 0.5,
                                 1e308,
                                 true,
                                 nullptr,
                                 "llama3",
                                 Json::array({1}),
                                 Json::object()};
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    auto json = config_of(std::string(hone::llama_families[random() % 4].model_type));
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      auto at = json.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(random() % json.size()));
      *at = values[random() % values.size()];
    }
    try {
      hone::validate(read(json));
      ++accepted;
    } catch (const hone::Error& error) {
      if (!contains(error.what(), "config")) FAIL(error.what());
    }
  }
  CHECK(accepted > 1000);
  CHECK(accepted < 19000);
}

TEST_CASE("llama_config_file: the real checkpoint") {
  const auto data = hone::test::shared_data();
  if (!data) return hone::test::skip("llama_config_file: real checkpoint", "no shared data");
  const auto config = hone::read_llama_config(*data / "stories260K");
  CHECK(config.hidden_size == 64);
  CHECK(config.head_dim == 8);
  CHECK(config.tie_word_embeddings);
  CHECK(config.torch_dtype == hone::DType::f32);
  CHECK(hone::parameter_count(config) == 260032);
  CHECK(contains(message_of([&] { hone::read_llama_config(*data / "none"); }), "cannot be opened"));
}
