// LoRA's relatives against PEFT: DoRA, rank-stabilised scaling, patterns, layers, whole modules.
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

/// tests/golden/peft/<name>: what PEFT gives over one of the golden bases.
struct Case {
  explicit Case(const std::string& name)
      : folder(std::filesystem::path(HONE_SOURCE_DIR) / "tests/golden/peft" / name),
        json(read_json_file(folder / "golden.json")),
        tensors(folder / "golden.safetensors"),
        base(json["base"].get<std::string>()) {}

  PretrainedLlama<float> model() const {
    auto out = load_llama<float>(base.folder());
    load_adapter(out, folder / "adapter");
    return out;
  }
  std::vector<float> values(const std::string& tensor) const {
    std::vector<float> out(static_cast<std::size_t>(tensors.shape(tensor).elements()));
    tensors.read_into(tensor, out.data(), static_cast<std::int64_t>(out.size()));
    return out;
  }

  std::filesystem::path folder;
  nlohmann::json json;
  TensorFiles tensors;
  Golden base;
};

constexpr const char* cases[] = {"dora", "patterns", "layers", "embeddings", "expression"};

std::vector<float> logits_of(PretrainedLlama<float>& model, const Golden& golden, std::size_t count) {
  auto values = model.logits(golden.batch(0)).to_vector();
  values.resize(count);
  return values;
}

/// The name a trained weight has in a PEFT file.
std::string file_name(const std::string& name) { return "base_model.model." + name; }

double norm_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

void check_gradients(PretrainedLlama<float>& model, const Case& one) {
  auto loss = model.loss(one.base.batch(0));
  CHECK(loss.mean() == doctest::Approx(one.json["loss"].get<double>()).epsilon(1e-6));
  loss.backward();
  std::size_t compared = 0;
  for (const auto& parameter : model.trainable_parameters().items) {
    CAPTURE(parameter.name);
    auto gradient = std::get<Tensor<float>>(parameter.value).gradient().to_vector();
    for (auto& value : gradient) value /= static_cast<float>(loss.tokens);
    const std::string name = file_name(parameter.name);
    REQUIRE(one.json["grad_norms"].contains(name));
    CHECK(norm_of(gradient) == doctest::Approx(one.json["grad_norms"][name].get<double>()).epsilon(1e-5));
    if (one.tensors.contains("grad." + name)) CHECK(test::relative_error(gradient, one.values("grad." + name)) <= 1e-4);
    ++compared;
  }
  CHECK(compared == one.json["grad_norms"].size());
}

PretrainedLlama<float> tiny() { return load_llama<float>(Golden("llama2").folder()); }

Paths attached(const Paths& target_modules, const LoRA& config) {
  auto model = tiny();
  return attach(model, target_modules, config);
}

}  // namespace

TEST_CASE("relatives: logits, loss, gradients and merged weights are PEFT's") {
  for (const char* name : cases) {
    CAPTURE(name);
    const Case one(name);
    auto model = one.model();
    const auto logits = one.values("logits");
    CHECK(test::largest_difference(logits_of(model, one.base, logits.size()), logits) <= 1e-5);
    check_gradients(model, one);
    merge(model);
    CHECK_FALSE(has_adapters(model));
    CHECK(test::largest_difference(logits_of(model, one.base, logits.size()), logits) <= 1e-5);
    model.visit([&](const std::string& weight, const Tensor<float>& tensor) {
      if (tensor.rank() != 2 || !one.json["merged_norms"].contains(weight)) return;
      CAPTURE(weight);
      CHECK(norm_of(tensor.to_vector()) ==
            doctest::Approx(one.json["merged_norms"][weight].get<double>()).epsilon(1e-6));
    });
  }
}

TEST_CASE("relatives: 20 steps follow PEFT and torch.optim.AdamW") {
  for (const char* name : cases) {
    CAPTURE(name);
    const Case one(name);
    auto model = one.model();
    const auto before = frozen_of(model);
    AdamW optimizer(model.trainable_parameters(), {.learning_rate = 1e-3, .weight_decay = 0.1});
    const auto& wanted = one.json["train"];
    for (std::size_t step = 0; step < 20; ++step) {
      auto loss = model.loss(one.base.batch(static_cast<int>(step % 4)));
      loss.backward();
      const auto report = optimizer.step();
      CHECK(std::abs(loss.mean() - wanted["losses"][step].get<double>()) <= 1e-5);
      CHECK(report.grad_norm == doctest::Approx(wanted["grad_norms"][step].get<double>()).epsilon(1e-4));
    }
    CHECK(frozen_of(model) == before);
  }
}

TEST_CASE("relatives: a folder that is loaded and saved gives the same bits again") {
  for (const char* name : cases) {
    CAPTURE(name);
    const Case one(name);
    const test::TemporaryFolder folder;
    auto model = one.model();
    save_adapter(model, folder / "out");
    const TensorFiles before(one.folder / "adapter", "adapter_model"), after(folder / "out", "adapter_model");
    // PEFT saves the base's embeddings beside an adapter of them; they are in the base.
    CHECK(after.names().size() + (std::string(name) == "embeddings" ? 1 : 0) == before.names().size());
    auto again = load_llama<float>(one.base.folder());
    load_adapter(again, folder / "out");
    const auto batch = one.base.batch(0);
    CHECK(again.logits(batch).to_vector() == model.logits(batch).to_vector());
  }
}

TEST_CASE("relatives: fresh DoRA changes no bit of the output") {
  const Golden golden("qwen2");
  auto base = load_llama<float>(golden.folder()), model = load_llama<float>(golden.folder());
  attach(model, Paths{"all-linear"}, {.r = 3, .alpha = 6, .use_dora = true});
  const auto batch = golden.batch(0);
  CHECK(model.logits(batch).to_vector() == base.logits(batch).to_vector());
  CHECK(model.trainable_parameters().items.size() == 3 * 14);
}

TEST_CASE("relatives: an adapter of the embeddings starts as nothing, and is merged only where they are not tied") {
  const auto batch = Golden("qwen2").batch(0);
  auto base = load_llama<float>(Golden("qwen2").folder()), model = load_llama<float>(Golden("qwen2").folder());
  CHECK(attach(model, Paths{"embed_tokens"}, {.r = 3}) == Paths{"model.embed_tokens"});
  CHECK(model.logits(batch).to_vector() == base.logits(batch).to_vector());
  CHECK(model.trainable_parameters().items.size() == 2);
  CHECK(contains(message_of([&] { merge(model); }), "[merge] model.embed_tokens is tied to the output projection"));
  CHECK(contains(message_of([&] { attach(base, Paths{"embed_tokens"}, {.use_dora = true}); }),
                 "use_dora is not supported on embeddings"));
  CHECK(attached({"all-linear"}, {}).size() == 14);  // the embeddings are no linear
}

TEST_CASE("relatives: which modules lists, layers and exclusions pick") {
  const Paths q = {"model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"};
  CHECK(attached({"q_proj", "v_proj"}, {.exclude_modules = {"v_proj"}}) == q);
  CHECK(attached({"q_proj"}, {.layers_to_transform = {1}}) == Paths{q[1]});
  CHECK(attached({"q_proj"}, {.layers_to_transform = {0}, .layers_pattern = {"layers"}}) == Paths{q[0]});
  CHECK(attached({q[0], q[1]}, {.layers_to_transform = {1}}) == q);  // full paths are not asked, as in PEFT
  CHECK(attached({R"(.*\.1\..*(q|k)_proj)"}, {}) == Paths{q[1], "model.layers.1.self_attn.k_proj"});
  CHECK(layer_of("model.layers.3.mlp.experts.7.up_proj", {}) == 3);
  CHECK(layer_of("model.layers.3.mlp.experts.7.up_proj", {"experts"}) == 7);
  CHECK(layer_of("model.layers.3.mlp.up_proj", {"blocks"}) == std::nullopt);
  CHECK(saves("norm", "model.layers.0.input_layernorm"));
  CHECK(saves("mlp", "model.layers.0.mlp.up_proj"));
  CHECK(saves("lm_head", "lm_head"));
  CHECK_FALSE(saves("norm", "model.layers.0.mlp.up_proj"));
  CHECK(layer_of("lm_head", {}) == std::nullopt);
  CHECK(layer_of("layers.3.mlp", {}) == std::nullopt);  // PEFT wants something before the list's name
}

TEST_CASE("relatives: a name that matches nothing comes with the nearest there are") {
  const auto refused = [](const Paths& paths, const LoRA& config) {
    return message_of([&] { attached(paths, config); });
  };
  CHECK(contains(refused({"q_porj"}, {}),
                 "[lora] target_modules: 'q_porj' matches no linear of this model (nearest names: q_proj"));
  CHECK(contains(refused({"q_proj"}, {.exclude_modules = {"w_proj"}}), "[lora] exclude_modules: 'w_proj'"));
  CHECK(contains(refused({"q_proj"}, {.rank_pattern = {{"x_proj", 2}}}), "[lora] rank_pattern: 'x_proj'"));
  CHECK(contains(refused({"q_proj"}, {.alpha_pattern = {{"y_proj", 2}}}), "[lora] alpha_pattern: 'y_proj'"));
  CHECK(contains(refused({"q_proj"}, {.rank_pattern = {{"q_proj", 0}}}), "rank r = 0"));
  CHECK(contains(refused({"q_proj"}, {.rank_pattern = {{"(q_proj", 1}}}), "[pattern] '(q_proj'"));
  CHECK(contains(refused({"q_proj"}, {.layers_to_transform = {2}}), "there is no layer 2 in this model"));
  CHECK(contains(refused({"q_proj"}, {.exclude_modules = {"self_attn.q_proj"}}), "leave no linear to adapt"));
  CHECK(contains(refused({"q_proj"}, {.modules_to_save = {"morn"}}), "[lora] modules_to_save: 'morn'"));
}

TEST_CASE("relatives: an adapter of another base is refused, and names what does not fit") {
  const Case one("patterns");  // of a model with another width
  auto model = tiny();
  CHECK(contains(message_of([&] { load_adapter(model, one.folder / "adapter"); }), "was expected"));
}
