#include <hone/models/llama_config.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "support/files.hpp"

using hone::LlamaConfig;
using hone::test::contains;
using hone::test::message_of;

namespace {

LlamaConfig tiny() {
  LlamaConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 172;
  config.num_hidden_layers = 5;
  config.num_attention_heads = 8;
  config.num_key_value_heads = 4;
  config.head_dim = 8;
  config.vocab_size = 512;
  config.tie_word_embeddings = true;
  return config;
}

LlamaConfig rope(std::int64_t head_dim, double theta, double factor = 0) {
  auto config = tiny();
  config.head_dim = head_dim;
  config.rope_theta = theta;
  if (factor > 0) config.rope_scaling = hone::Llama3RopeScaling{.factor = factor};
  return config;
}

/// Distance in representable floats.
std::int64_t ulps(float a, std::uint32_t bits) {
  return std::abs(std::int64_t{std::bit_cast<std::uint32_t>(a)} - std::int64_t{bits});
}

}  // namespace

TEST_CASE("llama_config: parameters of known models") {
  CHECK(hone::parameter_count(tiny()) == 260032);
  auto untied = tiny();
  untied.tie_word_embeddings = false;
  CHECK(hone::parameter_count(untied) == 260032 + 512 * 64);
  LlamaConfig llama32;  // Llama 3.2 1B: 1,235,814,400
  llama32.hidden_size = 2048;
  llama32.intermediate_size = 8192;
  llama32.num_hidden_layers = 16;
  llama32.num_attention_heads = 32;
  llama32.num_key_value_heads = 8;
  llama32.head_dim = 64;
  llama32.vocab_size = 128256;
  llama32.tie_word_embeddings = true;
  CHECK(hone::parameter_count(llama32) == 1235814400);
  LlamaConfig qwen;  // Qwen2.5 0.5B: 494,032,768
  qwen.hidden_size = 896;
  qwen.intermediate_size = 4864;
  qwen.num_hidden_layers = 24;
  qwen.num_attention_heads = 14;
  qwen.num_key_value_heads = 2;
  qwen.head_dim = 64;
  qwen.vocab_size = 151936;
  qwen.tie_word_embeddings = true;
  qwen.qkv_bias = true;
  CHECK(hone::parameter_count(qwen) == 494032768);
  LlamaConfig qwen3;  // Qwen3 0.6B: 596,049,920
  qwen3.hidden_size = 1024;
  qwen3.intermediate_size = 3072;
  qwen3.num_hidden_layers = 28;
  qwen3.num_attention_heads = 16;
  qwen3.num_key_value_heads = 8;
  qwen3.head_dim = 128;
  qwen3.vocab_size = 151936;
  qwen3.tie_word_embeddings = true;
  qwen3.qk_norm = true;
  CHECK(hone::parameter_count(qwen3) == 596049920);
}

TEST_CASE("llama_config: frequencies are those of transformers 5.23, to the last bit or one beside it") {
  const auto compare = [](const LlamaConfig& config, const std::vector<std::uint32_t>& expected) {
    const auto got = hone::inverse_frequencies(config);
    REQUIRE(got.size() == expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(ulps(got[i], expected[i]) <= 1);
  };
  compare(rope(8, 10000.0), {0x3f800000, 0x3dcccccd, 0x3c23d70a, 0x3a83126f});
  compare(rope(64, 500000.0, 32.0),
          {0x3f800000, 0x3f29e1c6, 0x3ee177bc, 0x3e959ee3, 0x3e4693b0, 0x3e03c6a0, 0x3daee4ad, 0x3d681e67,
           0x3d1a08c8, 0x3ccc6f49, 0x3c87a9c3, 0x3c340d6d, 0x3beef74f, 0x3b9e9402, 0x3b527720, 0x3aa9279b,
           0x39e13620, 0x38cb98f7, 0x37a3418d, 0x3758ac81, 0x370fc8f8, 0x36bed4f4, 0x367d45c3, 0x3628126b,
           0x35df10c4, 0x359406cb, 0x35447610, 0x35025f34, 0x34ad07a7, 0x3465a54d, 0x341864a7, 0x33ca41b0});
  compare(rope(96, 123456.7, 7.3),
          {0x3f800000, 0x3f488631, 0x3f1d11f2, 0x3ef610b5, 0x3ec0be07, 0x3e96f97e, 0x3e6c841c, 0x3e394330,
           0x3e111d99, 0x3de35661, 0x3db212a8, 0x3d8b7be9, 0x3d5a83d8, 0x3d2b298a, 0x3d06122e, 0x3cd208f4,
           0x3ca48516, 0x3c80de38, 0x3c49e24f, 0x3c1e229f, 0x3bf7bbe5, 0x3bc20ca5, 0x3b97ff97, 0x3b6e1eb7,
           0x3b2afea1, 0x3ac849b7, 0x3a66d3e0, 0x3a01eacb, 0x398d149a, 0x391062dc, 0x38bcd8dd, 0x3893ec6c,
           0x3867bc76, 0x383584b7, 0x380e2ed7, 0x37debe37, 0x37ae7960, 0x3788aa49, 0x37561952, 0x3727b405,
           0x37035c8e, 0x36cdca4e, 0x36a131ef, 0x367c8706, 0x3645cdd5, 0x361af080, 0x35f2ba3a, 0x35be20b2});
}

TEST_CASE("llama_config: the window spares the first layers") {
  auto config = tiny();
  CHECK(config.window_of_layer(0) == 0);
  config.sliding_window = 16;
  CHECK(config.window_of_layer(0) == 16);
  config.max_window_layers = 2;
  CHECK(config.window_of_layer(1) == 0);
  CHECK(config.window_of_layer(2) == 16);
}

TEST_CASE("llama_config: validate names what no model can have") {
  CHECK_NOTHROW(hone::validate(tiny()));
  const auto refused = [](auto change) {
    auto config = tiny();
    change(config);
    return message_of([&] { hone::validate(config, "c.json"); });
  };
  CHECK(refused([](auto& c) { c.num_hidden_layers = 0; }) ==
        "[c.json] num_hidden_layers is 0; 1 to 65536 was expected");
  CHECK(contains(refused([](auto& c) { c.num_hidden_layers = 4000000000; }), "num_hidden_layers is 4000000000"));
  CHECK(contains(refused([](auto& c) { c.hidden_size = -1; }), "hidden_size is -1"));
  CHECK(contains(refused([](auto& c) { c.intermediate_size = 0; }), "intermediate_size"));
  CHECK(contains(refused([](auto& c) { c.num_attention_heads = 0; }), "num_attention_heads is 0"));
  CHECK(contains(refused([](auto& c) { c.num_key_value_heads = 0; }), "num_key_value_heads is 0"));
  CHECK(contains(refused([](auto& c) { c.num_key_value_heads = 3; }), "must be a multiple of num_key_value_heads (3)"));
  CHECK(contains(refused([](auto& c) { c.num_key_value_heads = 16; }), "1 to 8 was expected"));
  CHECK(contains(refused([](auto& c) { c.head_dim = 7; }), "must be even"));
  CHECK(contains(refused([](auto& c) { c.vocab_size = std::int64_t{1} << 31; }), "vocab_size"));
  CHECK(contains(refused([](auto& c) { c.sliding_window = 0; }), "sliding_window is 0"));
  CHECK(contains(refused([](auto& c) { c.rms_norm_eps = 0; }), "rms_norm_eps is 0"));
  CHECK(contains(refused([](auto& c) { c.rms_norm_eps = std::nan(""); }), "rms_norm_eps is nan"));
  CHECK(contains(refused([](auto& c) { c.rope_theta = -1; }), "rope_theta is -1"));
  CHECK(contains(refused([](auto& c) { c.max_position_embeddings = 0; }), "max_position_embeddings"));
  CHECK(contains(refused([](auto& c) { c.rope_scaling = hone::Llama3RopeScaling{.factor = 0}; }), "factor is 0"));
  CHECK(contains(refused([](auto& c) { c.rope_scaling = hone::Llama3RopeScaling{.high_freq_factor = 1}; }), "above"));
  CHECK(
      contains(refused([](auto& c) { c.hidden_size = c.intermediate_size = std::numeric_limits<std::int32_t>::max(); }),
               "does not fit in 64 bits"));
}
