// What is noticed about an adapter's folder without refusing it (keys nobody knows, another base), and what is refused.
#include <hone/eval/merge_adapter.hpp>
#include <hone/models/quantise_folder.hpp>
#include <hone/peft/adapters.hpp>

#include <doctest/doctest.h>

#include "models/golden.hpp"
#include "support/files.hpp"

using namespace hone;
using hone::test::contains;
using hone::test::Golden;
using hone::test::message_of;

namespace {

using Names = std::vector<std::string>;

PretrainedLlama<float> model_of(const std::filesystem::path& folder) { return load_llama<float>(folder); }

/// A folder of golden weights, one of them changed by `factor`.
void write_changed(const std::filesystem::path& folder, const std::string& name, float factor) {
  auto model = model_of(Golden("llama2").folder());
  model.visit([&](const std::string& one, Tensor<float>& weight) {
    if (one == name) weight.data()[0] *= factor;
  });
  save_llama(model, folder);
}

nlohmann::json config_of(const std::filesystem::path& folder) { return read_json_file(folder / "adapter_config.json"); }

/// A folder like `from` with keys added to its config.
void write_with_keys(const std::filesystem::path& from, const std::filesystem::path& to, const nlohmann::json& keys) {
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  auto config = config_of(to);
  config.update(keys);
  write_file(to / "adapter_config.json", config.dump());
}

}  // namespace

TEST_CASE("base hash: the same weights in other files have it, other weights have not") {
  const test::TemporaryFolder folder;
  const auto golden = Golden("llama2").folder();
  const BaseHash base = hash_of_base(TensorFiles(golden));
  CHECK_FALSE(base.quantised);
  auto model = model_of(golden);
  save_llama(model, folder / "shards", {}, {.max_shard_size = 16 << 10});
  REQUIRE(TensorFiles(folder / "shards").shard_count() > 1);
  CHECK(hash_of_base(TensorFiles(folder / "shards")) == base);
  auto narrow = load_llama<bf16>(golden);
  save_llama(narrow, folder / "bf16");
  CHECK(hash_of_base(TensorFiles(folder / "bf16")) == base);  // fp32 samples are hashed as what bf16 keeps of them

  write_changed(folder / "linear", "model.layers.1.mlp.down_proj.weight", 2);
  const BaseHash linear = hash_of_base(TensorFiles(folder / "linear"));
  CHECK(base_difference(base, linear) == "the weights of its projections differ");
  write_changed(folder / "norm", "model.norm.weight", 2);
  const BaseHash norm = hash_of_base(TensorFiles(folder / "norm"));
  CHECK(base_difference(base, norm) == "its embeddings, norms or biases differ");
  CHECK(base_difference(linear, norm) == "its weights differ");
  CHECK(base_difference(base, base).empty());

  // Codes cannot be compared with what they were made from; the rest can.
  quantise_folder(golden, folder / "nf4", Quantisation{}, Cpu{});
  const BaseHash nf4 = hash_of_base(TensorFiles(folder / "nf4"));
  CHECK(nf4.quantised);
  CHECK(base_difference(base, nf4).empty());
  quantise_folder(folder / "norm", folder / "norm-nf4", Quantisation{}, Cpu{});
  CHECK(base_difference(base, hash_of_base(TensorFiles(folder / "norm-nf4"))) ==
        "its embeddings, norms or biases differ");
  CHECK_FALSE(find_hash_of_base(folder / "none").has_value());
  CHECK_FALSE(find_hash_of_base({}).has_value());
}

TEST_CASE("adapter notes: an adapter knows the base it was trained on") {
  const test::TemporaryFolder folder;
  const auto golden = Golden("llama2").folder();
  write_changed(folder / "other", "model.layers.0.self_attn.v_proj.weight", 3);
  for (const bool ia3 : {false, true}) {
    CAPTURE(ia3);
    const auto out = folder / (ia3 ? "ia3" : "lora");
    auto model = model_of(golden);
    ia3 ? static_cast<void>(attach(model, IA3{})) : static_cast<void>(attach(model, Names{"q_proj"}, LoRA{.r = 2}));
    save_adapter(model, out);
    CHECK(read_base_hash(out) == hash_of_base(TensorFiles(golden)));
    auto same = model_of(golden);
    CHECK(load_adapter(same, out).empty());
    auto other = model_of(folder / "other");
    const auto notes = load_adapter(other, out);
    REQUIRE(notes.size() == 1);
    CHECK(contains(notes[0], out.string() + "] was trained on another base than " + (folder / "other").string() +
                                 ": the weights of its projections differ"));
  }
  // Whoever merges is told once.
  std::vector<std::string> told;
  const MergeOptions options{.note = [&](const std::string& note) { told.push_back(note); }};
  merge_adapter<float>(folder / "other", folder / "ia3", folder / "merged", Cpu{}, options);
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "another base"));
  // The folder that is named wins over the one the model was loaded from: training knows only a name.
  auto model = model_of(golden);
  attach(model, Names{"q_proj"}, LoRA{.r = 2});
  save_adapter(model, folder / "named", (folder / "other").string());
  CHECK(read_base_hash(folder / "named") == hash_of_base(TensorFiles(folder / "other")));
  write_file(folder / "named/hone_adapter.json", R"({"base": {"projections": 7}})");
  auto again = model_of(golden);
  CHECK(contains(message_of([&] { load_adapter(again, folder / "named"); }), "hone_adapter.json] \"projections\""));
}

TEST_CASE("adapter notes: keys nobody knows are reported, and written again") {
  const test::TemporaryFolder folder;
  const auto golden = Golden("llama2").folder();
  const nlohmann::json keys = {{"future", {{"a", {1, 2}}}}, {"shine", 3}, {"peft_version", "9"}, {"off", false}};
  {
    auto model = model_of(golden);
    attach(model, PromptTuning{.num_virtual_tokens = 2});
    save_adapter(model, folder / "plain-prompt");
    auto lora = model_of(golden);
    CHECK(load_adapter(lora, golden / "adapter").empty());  // all PEFT itself writes is known
  }
  write_with_keys(golden / "adapter", folder / "lora", keys);
  write_with_keys(folder / "plain-prompt", folder / "prompt", keys);
  for (const std::string kind : {"lora", "prompt"}) {
    CAPTURE(kind);
    auto model = model_of(golden);
    const auto notes = load_adapter(model, folder / kind);
    REQUIRE(notes.size() == 1);
    CHECK(contains(notes[0], "adapter_config.json] hone does not know \"future\", \"shine\": nothing here depends"));
    save_adapter(model, folder / (kind + "-again"));
    const auto config = config_of(folder / (kind + "-again"));
    CHECK(config["future"] == keys["future"]);
    CHECK(config["shine"] == 3);
    CHECK_FALSE(config.contains("off"));
    auto third = model_of(golden);
    CHECK(load_adapter(third, folder / (kind + "-again")).size() == 1);
  }
  // AdapterHub keeps a method's settings in an object of their own.
  {
    auto model = model_of(golden);
    attach(model, Bottleneck{.reduction_factor = 4});
    save_adapter(model, folder / "plain-bottleneck");
  }
  auto settings = config_of(folder / "plain-bottleneck")["config"];
  settings["glow"] = "blue";
  write_with_keys(folder / "plain-bottleneck", folder / "bottleneck", {{"config", settings}, {"shine", 3}});
  {
    auto model = model_of(golden);
    const auto notes = load_adapter(model, folder / "bottleneck");
    REQUIRE(notes.size() == 1);
    CHECK(contains(notes[0], "does not know \"config.glow\", \"shine\": nothing"));
    save_adapter(model, folder / "bottleneck-again");
    CHECK(config_of(folder / "bottleneck-again")["config"] == settings);
    CHECK(config_of(folder / "bottleneck-again")["shine"] == 3);
  }
  // Several adapters keep their own; what is merged or erased leaves nothing behind.
  auto model = model_of(golden);
  Adapters<PretrainedLlama<float>> adapters(model);
  CHECK(adapters.load("a", folder / "lora").size() == 1);
  CHECK(adapters.load("b", golden / "adapter").empty());
  save_adapter(model, folder / "a", {}, "a");
  save_adapter(model, folder / "b", {}, "b");
  CHECK(config_of(folder / "a").contains("shine"));
  CHECK_FALSE(config_of(folder / "b").contains("shine"));
  adapters.erase("a");
  merge(model);
  CHECK(model.kept_keys.empty());
}

TEST_CASE("adapter notes: a type nobody here reads is refused with the nearest that is") {
  const test::TemporaryFolder folder;
  const auto golden = Golden("llama2").folder();
  auto model = model_of(golden);
  const auto refused = [&](const std::string& type) {
    write_file(folder / "adapter_config.json", nlohmann::json({{"peft_type", type}}).dump());
    return message_of([&] { load_adapter(model, folder.path()); });
  };
  CHECK(contains(refused("LOHA"),
                 "adapter_config.json] peft_type \"LOHA\" is not supported (nearest: LORA); hone reads"));
  CHECK(contains(refused("prefix-tuning"), "(nearest: PREFIX_TUNING)"));
  CHECK(contains(refused("IA4"), "(nearest: IA3); hone reads LORA, IA3, BITFIT, PREFIX_TUNING or PROMPT_TUNING"));
  CHECK_FALSE(contains(refused("\x1b[2J"), "\x1b"));
  write_file(folder / "adapter_config.json", "{}");
  CHECK(contains(message_of([&] { load_adapter(model, folder.path()); }), "\"peft_type\""));
  model.visit_adapters([](const std::string& name, auto&) { FAIL(name); });
}

TEST_CASE("adapter notes: rank 0 and adapters of another shape or depth are refused") {
  const test::TemporaryFolder folder;
  const auto golden = Golden("llama2").folder();
  write_with_keys(golden / "adapter", folder / "rank0", {{"r", 0}});
  auto model = model_of(golden);
  CHECK(contains(message_of([&] { load_adapter(model, folder / "rank0"); }), "adapter_config.json] \"r\""));
  CHECK(contains(message_of([&] { attach(model, Names{"q_proj"}, LoRA{.r = 0}); }), "[lora] rank r = 0"));
  write_with_keys(golden / "adapter", folder / "rank3", {{"r", 3}});
  CHECK(contains(message_of([&] { load_adapter(model, folder / "rank3"); }), "was expected"));
  // One layer fewer than the adapter has.
  auto config = read_llama_config(golden / "config.json");
  config.num_hidden_layers = 1;
  Llama<float> shallow(config, Cpu{});
  const auto message = message_of([&] { load_adapter(shallow, golden / "adapter"); });
  CHECK(contains(message, "sit on modules this model does not have, 'model.layers.1."));
  CHECK(contains(message, "the adapter belongs to another base"));
}
