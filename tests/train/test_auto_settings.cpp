// `auto`: as many rows as fit, and the least recompute that leaves a fair batch. Memory is a stand-in formula here.
#include <hone/train/auto_settings.hpp>

#include <doctest/doctest.h>

using namespace hone;

namespace {

LlamaConfig small_model() {
  LlamaConfig model;
  model.hidden_size = 64;
  model.intermediate_size = 128;
  model.num_hidden_layers = 2;
  model.num_attention_heads = model.num_key_value_heads = 4;
  model.head_dim = 16;
  model.vocab_size = 100;
  model.max_position_embeddings = 512;
  return model;
}

TrainConfig automatic() {
  TrainConfig config;
  config.batch_size = 0;
  config.gradient_checkpointing = "auto";
  config.max_length = 256;
  return config;
}

/// 100 bytes, and for every row 40, 30 or 10 by recompute.
const auto stand_in = [](const PlanConfig& config) {
  const std::int64_t per_row = config.step.recompute == Recompute::none        ? 40
                               : config.step.recompute == Recompute::selective ? 30
                                                                               : 10;
  return 100 + config.batch_size * per_row;
};

TrainConfig resolve(const TrainConfig& config, std::int64_t budget) {
  return resolve_auto(config, small_model(), policy::fp32, budget, stand_in);
}

}  // namespace

TEST_CASE("a run that would pin more of the host's memory than there is gets a sentence; nobody knows is no reason") {
  CHECK_NOTHROW(check_host_bytes(1 << 20, 1 << 20));
  CHECK_NOTHROW(check_host_bytes(1 << 20, 0));
  try {
    check_host_bytes((1 << 20) + 1, 1 << 20);
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) ==
          "offload: the run keeps 1.00 MiB (1048577 B) in the host's memory, pinned, and 1.00 MiB (1048576 B) of it "
          "are available; offload less, or free some");
  }
}

TEST_CASE("auto takes exactly as many rows as fit, up to 32") {
  for (std::int64_t rows = 8; rows <= 32; ++rows) {
    CHECK(resolve(automatic(), 100 + rows * 40).batch_size == rows);
    CHECK(resolve(automatic(), 100 + rows * 40 + 39).batch_size == rows);
  }
  CHECK(resolve(automatic(), 1 << 20).batch_size == 32);
}

TEST_CASE("recompute is the least that leaves about 2,048 tokens, else what leaves most rows") {
  CHECK(resolve(automatic(), 100 + 8 * 40).gradient_checkpointing == "none");
  CHECK(resolve(automatic(), 100 + 8 * 30).gradient_checkpointing == "selective");
  CHECK(resolve(automatic(), 100 + 8 * 30).batch_size == 8);
  const auto tight = resolve(automatic(), 100 + 3 * 10);
  CHECK(tight.gradient_checkpointing == "full");
  CHECK(tight.batch_size == 3);
}

TEST_CASE("what is stated stays") {
  auto config = automatic();
  config.batch_size = 5;
  CHECK(resolve(config, 100 + 5 * 40).gradient_checkpointing == "none");
  CHECK(resolve(config, 100 + 5 * 40 - 1).gradient_checkpointing == "selective");
  CHECK(resolve(config, 100 + 5 * 10).gradient_checkpointing == "full");
  CHECK(resolve(config, 100 + 5 * 10).batch_size == 5);
  CHECK_THROWS_AS(resolve(config, 100 + 5 * 10 - 1), OutOfMemory);
  config = automatic();
  config.gradient_checkpointing = "selective";
  CHECK(resolve(config, 100 + 7 * 30).batch_size == 7);
  CHECK(resolve(config, 100 + 7 * 30).gradient_checkpointing == "selective");
  CHECK_THROWS_AS(resolve(automatic(), 109), OutOfMemory);
}

TEST_CASE("this system says how much memory it could give") {
  if (!std::ifstream("/proc/meminfo")) return;
  CHECK(available_memory() > std::int64_t{64} << 20);
  TrainConfig config;
  CHECK(automatic_budget(config) < available_memory());
  config.vram_budget = 12345;
  CHECK(automatic_budget(config) == 12345);
}

TEST_CASE("an unstated max_length is 1024 or the model's context") {
  TrainConfig config;
  CHECK(with_defaults(config, small_model()).max_length == 512);
  auto longer = small_model();
  longer.max_position_embeddings = 8192;
  CHECK(with_defaults(config, longer).max_length == 1024);
  config.max_length = 513;
  CHECK_THROWS_AS(with_defaults(config, small_model()), Error);
}

TEST_CASE("offload: activations want full recompute, which auto then chooses") {
  TrainConfig config = automatic();
  config.offload = {"activations", "optimizer"};
  validate_settings(config);
  CHECK(resolve(config, 1 << 20).gradient_checkpointing == "full");
  const StepConfig step = step_config(resolve(config, 1 << 20), policy::bf16);
  CHECK(step.offload == Offload{.optimizer = true, .activations = true});
  config.gradient_checkpointing = "selective";
  CHECK_THROWS_WITH_AS(validate_settings(config),
                       "offload: activations are the inputs of recomputed layers, so it wants gradient_checkpointing "
                       "full, not selective",
                       Error);
  config.offload = {"weights"};
  CHECK_THROWS_WITH_AS(validate_settings(config),
                       "offload: 'weights' is not supported; choose one of optimizer, activations", Error);
}
