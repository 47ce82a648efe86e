// LoRA against PEFT: logits, loss, gradients, 20 training steps and merged weights of every family; and what attaching,
// saving and merging promise.
#include <hone/models/llama_folder.hpp>
#include <hone/optim/adamw.hpp>
#include <hone/peft/adapter_folder.hpp>

#include <doctest/doctest.h>

#include "models/golden.hpp"
#include "support/files.hpp"
#include "support/frozen.hpp"
#include "support/random.hpp"

using namespace hone;
using hone::test::contains;
using hone::test::frozen_of;
using hone::test::Golden;
using hone::test::message_of;

namespace {

using Paths = std::vector<std::string>;
using Weights = std::map<std::string, std::vector<float>>;

PretrainedLlama<float> base_of(const Golden& golden) { return load_llama<float>(golden.folder()); }
PretrainedLlama<float> adapted(const Golden& golden) {
  auto model = base_of(golden);
  load_adapter(model, golden.folder() / "adapter");
  return model;
}

std::vector<float> logits_of(PretrainedLlama<float>& model, const Golden& golden, std::size_t count) {
  auto values = model.logits(golden.batch(0)).to_vector();
  values.resize(count);  // the batch is padded, goldens are not
  return values;
}

Weights adapters_of(PretrainedLlama<float>& model) {
  Weights out;
  model.visit_adapters([&](const std::string& name, auto& tensor) {
    const auto values = tensor.to_vector();
    out[name] = {values.begin(), values.end()};
  });
  return out;
}

/// A LoRA that does something: fresh ones have B = 0.
void randomise(PretrainedLlama<float>& model) {
  std::uint64_t seed = 1;
  model.visit_adapters([&](const std::string&, auto& tensor) {
    using T = typename std::decay_t<decltype(tensor)>::Element;
    const auto values = test::random_values(tensor.elements(), seed++, -0.3, 0.3);
    std::transform(values.begin(), values.end(), tensor.data(), [](double value) { return static_cast<T>(value); });
  });
}

void check_gradients(PretrainedLlama<float>& model, const Golden& golden) {
  auto loss = model.loss(golden.batch(0));
  CHECK(loss.mean() == doctest::Approx(golden.json()["lora"]["loss"].get<double>()).epsilon(1e-6));
  loss.backward();
  std::size_t compared = 0;
  model.visit_adapters([&](const std::string& name, auto& weight) {
    auto gradient = weight.gradient().to_vector();
    for (auto& value : gradient) value /= static_cast<float>(loss.tokens);
    CAPTURE(name);
    CHECK(test::relative_error(gradient, golden.values<float>("lora.grad.base_model.model." + name)) <= 1e-4);
    ++compared;
  });
  std::size_t wanted = 0;
  for (const std::string& name : golden.tensors().names()) wanted += name.starts_with("lora.grad.") ? 1u : 0u;
  CHECK(compared == wanted);
  model.visit([](const std::string&, const Tensor<float>& weight) { CHECK_FALSE(weight.requires_grad()); });
}

/// The written target_modules of a model to which `targets` were attached.
nlohmann::json saved_targets(const Golden& golden, const Paths& target_modules) {
  const test::TemporaryFolder folder;
  auto model = base_of(golden);
  attach(model, target_modules, {.r = 2});
  save_adapter(model, folder / "out");
  return read_json_file(folder / "out/adapter_config.json")["target_modules"];
}

}  // namespace

TEST_CASE("lora: every family agrees with PEFT in logits, loss, gradients and merged weights") {
  for (const char* family : test::golden_families) {
    CAPTURE(family);
    const Golden golden(family);
    auto model = adapted(golden);
    const auto logits = golden.values<float>("lora.logits");
    CHECK(test::largest_difference(logits_of(model, golden, logits.size()), logits) <= 1e-5);
    check_gradients(model, golden);

    merge(model);
    CHECK_FALSE(has_adapters(model));
    CHECK(test::largest_difference(logits_of(model, golden, logits.size()), logits) <= 1e-5);
    std::size_t compared = 0;
    model.visit([&](const std::string& name, const Tensor<float>& weight) {
      if (!golden.tensors().contains("lora.merged." + name)) return;
      CAPTURE(name);
      CHECK(test::relative_error(weight.to_vector(), golden.values<float>("lora.merged." + name)) <= 1e-6);
      ++compared;
    });
    CHECK(compared > 0);
  }
}

TEST_CASE("lora: 20 steps follow PEFT and torch.optim.AdamW") {
  for (const char* family : test::golden_families) {
    CAPTURE(family);
    const Golden golden(family);
    auto model = adapted(golden);
    const auto before = frozen_of(model);
    AdamW optimizer(model.trainable_parameters(), {.learning_rate = 1e-3, .weight_decay = 0.1});
    const auto& wanted = golden.json()["lora"]["train"];
    for (std::size_t step = 0; step < 20; ++step) {
      auto loss = model.loss(golden.batch(static_cast<int>(step % 4)));
      loss.backward();
      const auto report = optimizer.step();
      CHECK(std::abs(loss.mean() - wanted["losses"][step].get<double>()) <= 1e-5);
      CHECK(report.grad_norm == doctest::Approx(wanted["grad_norms"][step].get<double>()).epsilon(1e-4));
    }
    CHECK(frozen_of(model) == before);
  }
}

TEST_CASE("lora: a fresh adapter changes no bit of the output, and merging it none of the weights") {
  const Golden golden("qwen2");
  auto base = base_of(golden);
  auto model = base_of(golden);
  CHECK_FALSE(has_adapters(model));
  const auto paths = attach(model, "all-linear", {.r = 3, .alpha = 6, .dropout = 0.5});
  CHECK(paths.size() == 14);
  CHECK(has_adapters(model));
  const auto batch = golden.batch(0);
  const auto logits = base.logits(batch).to_vector();
  CHECK(model.logits(batch).to_vector() == logits);
  merge(model);
  CHECK(model.logits(batch).to_vector() == logits);
}

TEST_CASE("lora: fresh A depends on seed and path alone; B is zero") {
  const Golden golden("llama2");
  auto one = base_of(golden), two = base_of(golden), other = base_of(golden);
  attach(one, "all-linear", {.r = 2});
  attach(two, "*.1.self_attn.v_proj", {.r = 2});
  attach(other, "*.1.self_attn.v_proj", {.r = 2, .seed = 7});
  auto all = adapters_of(one);
  const std::string path = "model.layers.1.self_attn.v_proj.";
  CHECK(adapters_of(two)[path + "lora_A.weight"] == all[path + "lora_A.weight"]);
  CHECK(adapters_of(other)[path + "lora_A.weight"] != all[path + "lora_A.weight"]);
  CHECK(all["model.layers.0.self_attn.v_proj.lora_A.weight"] != all[path + "lora_A.weight"]);
  for (const float value : all[path + "lora_A.weight"]) CHECK(std::abs(value) <= 1 / std::sqrt(32.0f));
  CHECK(all[path + "lora_B.weight"] == std::vector<float>(64, 0.0f));
}

TEST_CASE("lora: dropout is active in training only, and draws anew for every batch") {
  const Golden golden("llama2");
  auto model = base_of(golden);
  attach(model, "all-linear", {.r = 2, .dropout = 0.5});
  randomise(model);
  const auto batch = golden.batch(0);
  const auto mean = [&] {
    const PauseRecording forward_only;
    return model.loss(batch).mean();
  };
  set_seed(3);
  const double first = mean(), second = mean();
  CHECK(first != second);
  set_seed(3);
  CHECK(mean() == first);
  CHECK(model.logits(batch).to_vector() == model.logits(batch).to_vector());
}

TEST_CASE("lora: a saved adapter loads with every bit") {
  const Golden golden("qwen3");
  const test::TemporaryFolder folder;
  auto model = base_of(golden);
  attach(model, Paths{"q_proj", "down_proj"}, {.r = 3, .alpha = 7, .dropout = 0.1});
  randomise(model);
  save_adapter(model, folder / "out", "base");
  auto again = base_of(golden);
  load_adapter(again, folder / "out");
  CHECK(adapters_of(again).size() == 8);
  CHECK(adapters_of(again) == adapters_of(model));
  const auto batch = golden.batch(0);
  CHECK(again.logits(batch).to_vector() == model.logits(batch).to_vector());
  const auto config = read_adapter_config(folder / "out");
  CHECK(config.r == 3);
  CHECK(config.lora_alpha == 7.0);
  CHECK(config.lora_dropout == 0.1);
  auto bare = base_of(golden);
  CHECK(contains(message_of([&] { save_adapter(bare, folder / "none"); }), "[adapter] the model has no adapter"));
  CHECK_FALSE(std::filesystem::exists(folder / "none"));
}

TEST_CASE("lora: rank-stabilised scaling survives a folder") {
  const Golden golden("llama2");
  const test::TemporaryFolder folder;
  auto model = base_of(golden);
  attach(model, "all-linear", {.r = 4, .alpha = 6, .use_rslora = true});
  randomise(model);
  save_adapter(model, folder / "out");
  auto again = base_of(golden);
  load_adapter(again, folder / "out");
  const auto batch = golden.batch(0);
  CHECK(again.logits(batch).to_vector() == model.logits(batch).to_vector());
}

TEST_CASE("lora: adapters of several ranks and alphas share a folder as PEFT's patterns") {
  const Golden golden("llama2");
  const test::TemporaryFolder folder;
  auto model = base_of(golden);
  attach(model, "q_proj", {.r = 4, .alpha = 8});
  attach(model, "*.1.self_attn.v_proj", {.r = 2, .alpha = 8});
  attach(model, "*.0.mlp.up_proj", {.r = 4, .alpha = 3});
  randomise(model);
  save_adapter(model, folder / "out");
  const auto config = read_adapter_config(folder / "out");
  CHECK(config.rank_pattern == ModulePatterns<std::int64_t>{{"layers.1.self_attn.v_proj", 2}});
  CHECK(config.alpha_pattern == ModulePatterns<double>{{"layers.0.mlp.up_proj", 3}});
  auto again = base_of(golden);
  load_adapter(again, folder / "out");
  CHECK(adapters_of(again) == adapters_of(model));
  const auto batch = golden.batch(0);
  CHECK(again.logits(batch).to_vector() == model.logits(batch).to_vector());

  attach(model, "*.0.self_attn.q_proj", {.r = 4, .alpha = 8});
  CHECK(contains(message_of([&] { save_adapter(model, folder / "two"); }),
                 "[adapter] model.layers.0.self_attn.q_proj has two adapters"));
  auto mixed = base_of(golden);
  attach(mixed, "q_proj", {.r = 4});
  attach(mixed, "v_proj", {.r = 4, .dropout = 0.5});
  CHECK(contains(message_of([&] { save_adapter(mixed, folder / "three"); }), "has another dropout or scaling"));
}

TEST_CASE("lora: target_modules are names where names suffice, full paths where not") {
  const Golden golden("llama2");
  CHECK(saved_targets(golden, {"*.{q,v}_proj"}) == nlohmann::json{"q_proj", "v_proj"});
  CHECK(saved_targets(golden, {"model.layers.1.self_attn.q_proj"}) ==
        nlohmann::json::array({"model.layers.1.self_attn.q_proj"}));
  CHECK(saved_targets(golden, {"q_proj", "*.0.mlp.up_proj"}) == nlohmann::json{"model.layers.0.self_attn.q_proj",
                                                                               "model.layers.0.mlp.up_proj",
                                                                               "model.layers.1.self_attn.q_proj"});
}

TEST_CASE("lora: which modules an entry picks") {
  const std::string path = "model.layers.1.self_attn.q_proj";
  for (const char* entry : {"all-linear", "q_proj", "self_attn.q_proj", "*.{q,v}_proj", "model.layers.1.*",
                            "model.layers.?.self_attn.q_proj", "model.layers.1.self_attn.q_proj"})
    CHECK(targets(entry, path));
  for (const char* entry : {"v_proj", "proj", "_proj", "q_*", "*.{k,v}_proj", "layers.1", ""})
    CHECK_FALSE(targets(entry, path));
  const Golden golden("llama2");
  auto model = base_of(golden);
  CHECK(attach(model, "*.1.self_attn.{q,v}_proj", {.r = 1}) ==
        Paths{"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"});
  CHECK(model.trainable_parameters().items.size() == 4);
}

TEST_CASE("lora: what cannot be attached or loaded is named") {
  const Golden golden("llama2");
  auto model = base_of(golden);
  const auto refused = [&](const Paths& paths, const LoRA& lora) {
    return message_of([&] { attach(model, paths, lora); });
  };
  CHECK(contains(refused({"q_proj", "x_proj"}, {.r = 2}), "[lora] target_modules: 'x_proj' matches no linear"));
  CHECK(contains(refused({"q_proj"}, {.r = 0}), "[lora] rank r = 0 must lie between 1 and 65536"));
  CHECK(contains(refused({"q_proj"}, {.r = -4}), "rank r = -4"));
  CHECK(contains(refused({"q_proj"}, {.r = 65537}), "rank r = 65537"));
  CHECK(contains(refused({"q_proj"}, {.dropout = 1.0}), "[lora] dropout 1 must lie in [0, 1)"));
  CHECK(contains(refused({"*.{q"}, {.r = 2}), "[glob] '*.{q'"));

  const auto load = [&](const std::vector<std::pair<std::string, Shape>>& tensors) {
    const test::TemporaryFolder folder;
    NamedTensors<Cpu> named;
    for (const auto& [module, shape] : tensors)
      named.push_back({"base_model.model." + module + ".weight", test::random_tensor<float>(shape, 1)});
    AdapterConfig config;
    config.r = 2;
    config.target_modules = {"q_proj"};
    write_adapter_config(folder.path(), config);
    write_weights(named, folder.path(), {.stem = "adapter_model"});
    auto fresh = base_of(golden);
    return message_of([&] { load_adapter(fresh, folder.path()); });
  };
  const std::string q = "model.layers.0.self_attn.q_proj", far = "model.layers.9.self_attn.q_proj";
  CHECK(contains(load({{q + ".lora_A", {2, 32}}}), q + " has only one of lora_A and lora_B"));
  CHECK(contains(load({{far + ".lora_A", {2, 32}}, {far + ".lora_B", {32, 2}}}), "2 of its 2 tensors sit on modules"));
  CHECK(contains(load({{q + ".lora_A", {2, 31}}, {q + ".lora_B", {32, 2}}}), "lora_A"));
  CHECK(contains(load({{q, {2, 32}}}), "is neither a LoRA weight nor one of a module that modules_to_save names"));
}
