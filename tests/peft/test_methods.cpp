// The methods beside LoRA against PEFT and AdapterHub: logits, loss, gradients, 20 training steps; and what attaching,
// saving, packing and generating promise.
#include <hone/models/llama_folder.hpp>
#include <hone/optim/adamw.hpp>
#include <hone/peft/adapter_folder.hpp>

#include <doctest/doctest.h>

#include "models/golden.hpp"
#include "support/files.hpp"
#include "support/frozen.hpp"
#include "support/random.hpp"

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

using namespace hone;
using hone::test::contains;
using hone::test::frozen_of;
using hone::test::Golden;
using hone::test::message_of;

namespace {

using Weights = std::map<std::string, std::vector<float>>;

/// tests/golden/methods/<method>: the adapter's folder, and what the library it is from computed with it.
struct MethodGolden {
  std::filesystem::path folder;
  nlohmann::json json;
  TensorFiles tensors;
  Golden base;

  explicit MethodGolden(const std::string& method)
      : folder(std::filesystem::path(HONE_SOURCE_DIR) / "tests" / "golden" / "methods" / method),
        json(read_json_file(folder / "golden.json")),
        tensors(folder / "golden.safetensors"),
        base(json["family"].get<std::string>()) {}

  PretrainedLlama<float> model() const { return load_llama<float>(base.folder()); }
  std::vector<float> values(const std::string& name) const {
    std::vector<float> out(static_cast<std::size_t>(tensors.shape(name).elements()));
    tensors.read_into(name, out.data(), static_cast<std::int64_t>(out.size()));
    return out;
  }
};

/// The model with the golden's adapter, as it was trained: a reparametrised prefix with what makes it.
PretrainedLlama<float> adapted(const MethodGolden& golden) {
  auto model = golden.model();
  if (!golden.tensors.contains("start.prompt_encoder.embedding.weight")) {
    CHECK(load_method(model, golden.folder));
    return model;
  }
  attach(model, PrefixTuning{.num_virtual_tokens = 3, .prefix_projection = true, .encoder_hidden_size = 5});
  model.visit_adapters(
      [&](const std::string& name, auto& weight) { detail::read_tensor(golden.tensors, "start." + name, weight); });
  return model;
}

/// A weight's name in golden.safetensors.
std::string golden_name(const MethodGolden& golden, const std::string& name) {
  for (std::string candidate : {name, "base_model.model." + name, std::string("prompt_encoder.embedding.weight")})
    if (golden.tensors.contains("grad." + candidate)) return "grad." + candidate;
  std::string hub = name;
  const std::string part = "_adapters.";
  hub.insert(hub.find(part) + part.size(), "adapters.");
  return "grad." + hub;
}

constexpr std::array methods = {"ia3", "prompt", "prefix", "prefix-projection", "houlsby", "pfeiffer", "parallel"};

Weights adapters_of(PretrainedLlama<float>& model) {
  Weights out;
  model.visit_adapters([&](const std::string& name, auto& tensor) {
    const auto values = tensor.to_vector();
    out[name] = {values.begin(), values.end()};
  });
  return out;
}

std::vector<float> head(std::vector<float> values, std::size_t count) {
  values.resize(count);
  return values;
}

/// Every method as it is attached.
template <class F>
void for_each_method(F&& f) {
  const std::vector<Method> all = {Attached<IA3>{},
                                   Attached<BitFit>{},
                                   Attached<Bottleneck>{Bottleneck::houlsby()},
                                   Attached<Bottleneck>{Bottleneck::pfeiffer()},
                                   Attached<Bottleneck>{Bottleneck::parallel()},
                                   Attached<PrefixTuning>{{.num_virtual_tokens = 4}},
                                   Attached<PrefixTuning>{{.num_virtual_tokens = 4, .prefix_projection = true}},
                                   Attached<PromptTuning>{{.num_virtual_tokens = 4}}};
  for (const Method& method : all) f(method);
}

void prepare(PretrainedLlama<float>& model, const Method& method) {
  std::visit([&](const auto& one) { one.prepare(model, policy::fp32); }, method);
}

/// Every adapter weight moved away from where it begins.
void disturb(PretrainedLlama<float>& model) {
  std::uint64_t seed = 1;
  model.visit_adapters([&](const std::string&, auto& tensor) {
    const auto noise = test::random_values(tensor.elements(), seed++, -0.2, 0.2);
    for (std::int64_t i = 0; i < tensor.elements(); ++i)
      tensor.data()[i] += static_cast<std::decay_t<decltype(*tensor.data())>>(noise[static_cast<std::size_t>(i)]);
  });
}

}  // namespace

TEST_CASE("methods: logits, loss and gradients are PEFT's and AdapterHub's") {
  for (const char* method : methods) {
    CAPTURE(method);
    const MethodGolden golden(method);
    auto model = adapted(golden);
    const auto logits = golden.values("logits");
    CHECK(test::largest_difference(head(model.logits(golden.base.batch(0)).to_vector(), logits.size()), logits) <=
          1e-5);
    auto loss = model.loss(golden.base.batch(0));
    CHECK(loss.mean() == doctest::Approx(golden.json["loss"].get<double>()).epsilon(1e-6));
    loss.backward();
    std::size_t compared = 0;
    model.visit_adapters([&](const std::string& name, auto& weight) {
      auto gradient = weight.gradient().to_vector();
      for (auto& value : gradient) value /= static_cast<float>(loss.tokens);
      CAPTURE(name);
      CHECK(test::relative_error(gradient, golden.values(golden_name(golden, name))) <= 1e-4);
      ++compared;
    });
    std::size_t wanted = 0;
    for (const std::string& name : golden.tensors.names()) wanted += name.starts_with("grad.") ? 1u : 0u;
    CHECK(compared == wanted);
    model.visit([](const std::string&, const Tensor<float>& weight) { CHECK_FALSE(weight.requires_grad()); });
  }
}

TEST_CASE("methods: 20 steps follow PEFT's and AdapterHub's, and the base stays as it was") {
  for (const char* method : methods) {
    CAPTURE(method);
    const MethodGolden golden(method);
    auto model = adapted(golden);
    const auto before = frozen_of(model);
    AdamW optimizer(model.trainable_parameters(), {.learning_rate = 1e-3, .weight_decay = 0.1});
    for (std::size_t step = 0; step < 20; ++step) {
      auto loss = model.loss(golden.base.batch(static_cast<int>(step % 4)));
      loss.backward();
      const auto report = optimizer.step();
      CHECK(std::abs(loss.mean() - golden.json["train"]["losses"][step].get<double>()) <= 1e-5);
      CHECK(report.grad_norm == doctest::Approx(golden.json["train"]["grad_norms"][step].get<double>()).epsilon(1e-4));
    }
    CHECK(frozen_of(model) == before);
  }
}

TEST_CASE("methods: all that PEFT and AdapterHub write is known") {
  for (const char* method : methods) {
    CAPTURE(method);
    const MethodGolden golden(method);
    auto model = golden.model();
    CHECK(load_adapter(model, golden.folder) == AdapterNotes{});
  }
}

TEST_CASE("methods: those that begin as the identity change no bit; the others change the output") {
  for (const char* family : {"qwen2", "llama2"}) {
    const Golden golden(family);
    const auto batch = golden.batch(0);
    auto base = load_llama<float>(golden.folder());
    const auto logits = base.logits(batch).to_vector();
    for_each_method([&](const Method& method) {
      auto model = load_llama<float>(golden.folder());
      prepare(model, method);
      CAPTURE(family);
      CAPTURE(name_of(method));
      CHECK((model.logits(batch).to_vector() == logits) == (model.virtual_tokens() == 0));
    });
  }
}

TEST_CASE("methods: every recompute policy gives the same bits") {
  const Golden golden("llama3.1");
  for_each_method([&](const Method& method) {
    CAPTURE(name_of(method));
    std::map<Recompute, Weights> gradients;
    for (const Recompute policy : {Recompute::none, Recompute::selective, Recompute::full}) {
      auto model = load_llama<float>(golden.folder());
      prepare(model, method);
      disturb(model);
      model.recompute = policy;
      model.loss(golden.batch(0)).backward();
      model.visit_adapters([&](const std::string& name, auto& weight) {
        const auto values = weight.gradient().to_vector();
        gradients[policy][name] = {values.begin(), values.end()};
      });
    }
    CHECK(gradients[Recompute::none] == gradients[Recompute::selective]);
    CHECK(gradients[Recompute::none] == gradients[Recompute::full]);
  });
}

TEST_CASE("methods: packed documents do not see each other, and each has its virtual tokens") {
  for (const char* family : {"llama3.1", "mistral"}) {  // mistral: a window that reaches the virtual tokens
    const Golden golden(family);
    for_each_method([&](const Method& method) {
      CAPTURE(family);
      CAPTURE(name_of(method));
      auto model = load_llama<float>(golden.folder());
      prepare(model, method);
      disturb(model);
      const auto batch = golden.batch(0, 1);
      const auto together = model.logits(batch);
      for (std::size_t d = 0; d + 1 < batch.documents.size(); ++d) {
        const auto begin = batch.documents[d], end = batch.documents[d + 1];
        Example one;
        one.ids.assign(batch.ids.begin() + begin, batch.ids.begin() + end);
        one.supervised.assign(one.ids.size(), true);
        const auto alone = model.logits(make_batch(std::span<const Example>(&one, 1), 1)).to_vector();
        CHECK(test::largest_difference(together.rows(begin, end - begin).to_vector(), alone) <= 2e-5);
      }
    });
  }
}

TEST_CASE("methods: generation with a cache gives the logits of the whole sequence") {
  const Golden golden("llama3.1");
  for_each_method([&](const Method& method) {
    CAPTURE(name_of(method));
    auto model = load_llama<float>(golden.folder());
    prepare(model, method);
    disturb(model);
    Example one{{5, 9, 11, 3, 40, 41, 42}, std::vector<bool>(7, true)};
    const auto whole = model.logits(make_batch(std::span<const Example>(&one, 1), 1));
    auto cache = model.make_cache(7);
    const std::span<const std::int32_t> ids(one.ids);
    auto last = model.logits(ids.first(3), cache);
    CHECK(test::largest_difference(last.to_vector(), whole.rows(2, 1).to_vector()) <= 2e-5);
    for (std::size_t i = 3; i < 7; ++i) last = model.logits(ids.subspan(i, 1), cache);
    CHECK(test::largest_difference(last.to_vector(), whole.rows(6, 1).to_vector()) <= 2e-5);
    CHECK(cache.length() == cache.capacity());
    cache.truncate(0);  // a new request
    last = model.logits(ids.first(3), cache);
    CHECK(test::largest_difference(last.to_vector(), whole.rows(2, 1).to_vector()) <= 2e-5);
  });
}

TEST_CASE("methods: a saved folder loads with every bit") {
  const Golden golden("llama3.1");
  const auto batch = golden.batch(0);
  for_each_method([&](const Method& method) {
    CAPTURE(name_of(method));
    const test::TemporaryFolder folder;
    auto model = load_llama<float>(golden.folder());
    prepare(model, method);
    disturb(model);
    CHECK(save_method(model, folder / "out", "base"));
    auto again = load_llama<float>(golden.folder());
    CHECK(load_method(again, folder / "out"));
    CHECK(adapters_of(again) == adapters_of(model));
    CHECK(again.logits(batch).to_vector() == model.logits(batch).to_vector());
    auto resumed = load_llama<float>(golden.folder());
    prepare(resumed, method);
    CHECK(reload_method(resumed, folder / "out"));
    CHECK(adapters_of(resumed) == adapters_of(model));
  });
}

TEST_CASE("methods: prompts begin as random, sampled or given embeddings") {
  const Golden golden("llama2");
  const auto rows_of = [&](const PromptTuning& config) {
    auto model = load_llama<float>(golden.folder());
    attach(model, config);
    return adapters_of(model)["prompt_embeddings"];
  };
  auto base = load_llama<float>(golden.folder());
  const auto table = frozen_of(base)["model.embed_tokens.weight"];
  const auto row = [](const std::vector<float>& values, std::int64_t at) {
    return std::vector<float>(values.begin() + at * 32, values.begin() + (at + 1) * 32);
  };
  const auto text = rows_of({.num_virtual_tokens = 3, .init = PromptInit::text, .init_ids = {7, 9}});
  CHECK(row(text, 0) == row(table, 7));
  CHECK(row(text, 1) == row(table, 9));
  CHECK(row(text, 2) == row(table, 7));
  const auto sampled = rows_of({.num_virtual_tokens = 5, .init = PromptInit::sample_vocab});
  for (std::int64_t at = 0; at < 5; ++at) {
    bool found = false;
    for (std::int64_t id = 0; id < 96; ++id) found = found || row(sampled, at) == row(table, id);
    CHECK(found);
  }
  CHECK(sampled != rows_of({.num_virtual_tokens = 5, .init = PromptInit::sample_vocab, .seed = 7}));
  const auto random = rows_of({.num_virtual_tokens = 64});
  double square = 0;
  for (const float value : random) square += static_cast<double>(value) * static_cast<double>(value);
  CHECK(square / static_cast<double>(random.size()) == doctest::Approx(1).epsilon(0.1));
}

TEST_CASE("methods: what cannot be attached or loaded is named") {
  const Golden golden("llama2");
  auto model = load_llama<float>(golden.folder());
  CHECK(contains(message_of([&] { attach(model, IA3{{"x_proj"}, {}}); }), "[ia3] target_modules: 'x_proj' matches"));
  CHECK(contains(message_of([&] { attach(model, IA3{{"kproj"}, {}}); }), "(nearest names: k_proj"));
  CHECK(contains(message_of([&] {
                   attach(model, IA3{{"k_proj"}, {"donw_proj"}});
                 }),
                 "[ia3] feedforward_modules: 'donw_proj' matches no linear of this model (nearest names: down_proj"));
  CHECK(contains(message_of([&] { attach(model, IA3{{"k_proj"}, {"k_proj"}}); }), "k_proj is that of other modules"));
  CHECK(contains(message_of([&] { attach(model, PromptTuning{.num_virtual_tokens = 0}); }), "num_virtual_tokens 0"));
  CHECK(contains(message_of([&] { attach(model, PromptTuning{.init = PromptInit::text}); }), "TEXT needs a text"));
  CHECK(contains(message_of([&] { attach(model, Bottleneck{.reduction_factor = 0}); }), "reduction_factor 0"));
  CHECK(contains(message_of([&] { activation_named("mish"); }), "'mish' is not known"));
  model.visit_adapters([](const std::string& name, auto&) { FAIL(name); });

  attach(model, PromptTuning{.num_virtual_tokens = 2});
  CHECK(contains(message_of([&] { attach(model, PrefixTuning{}); }), "has virtual tokens already (2)"));
  attach(model, IA3{});
  const test::TemporaryFolder folder;
  CHECK(contains(message_of([&] { save_method(model, folder / "two"); }), "adapters of several methods"));
  CHECK_FALSE(std::filesystem::exists(folder / "two"));

  const MethodGolden prefix("prefix"), parallel("parallel");
  auto other = load_llama<float>(golden.folder());  // as many key heads as heads: another width
  CHECK(contains(message_of([&] { load_method(other, prefix.folder); }), "prompt_embeddings"));
  auto narrow = load_llama<float>(Golden("smollm2").folder());
  CHECK(contains(message_of([&] { load_method(narrow, parallel.folder); }), "adapter_down.0.weight"));
  CHECK_FALSE(load_method(narrow, golden.folder() / "adapter"));  // LoRA's
}

TEST_CASE("methods: what IA3 and BitFit learned can be folded into the base") {
  // qwen2 has biases on q, k and v, which IA3 scales with the rows and BitFit changes; llama2 has none.
  for (const char* family : {"qwen2", "llama2"}) {
    CAPTURE(family);
    const Golden golden(family);
    const auto batch = golden.batch(0);
    const auto folded = [&](const auto& prepare_it) {
      auto model = load_llama<float>(golden.folder());
      const auto base = model.logits(batch).to_vector();
      prepare_it(model);
      disturb(model);
      const auto beside = model.logits(batch).to_vector();
      merge(model);
      model.visit_adapters([](const std::string& name, auto&) { FAIL(name); });
      CHECK(test::largest_difference(beside, base) > 1e-2);
      CHECK(test::largest_difference(model.logits(batch).to_vector(), beside) <= 2e-5);
    };
    folded([](auto& model) { attach(model, IA3{}); });
    folded([](auto& model) { attach(model, IA3{{"q_proj", "o_proj", "down_proj"}, {"o_proj", "down_proj"}}); });
    // One behind the other, in either order; the input that IA3 scales is LoRA's input too.
    const LoRA lora{.r = 2, .alpha = 4};
    folded([&](auto& model) {
      attach(model, "*.{q,k,down}_proj", lora);
      attach(model, IA3{});
    });
    folded([&](auto& model) {
      attach(model, IA3{});
      attach(model, "*.{q,k,down}_proj", lora);
      if (std::string(family) == "qwen2") attach(model, BitFit{});
    });
    if (std::string(family) == "qwen2") folded([](auto& model) { attach(model, BitFit{}); });
  }
  auto model = load_llama<float>(Golden("llama2").folder());
  attach(model, IA3{});
  attach(model, BitFit{});
  disturb(model);
  const auto before = frozen_of(model);
  CHECK(contains(message_of([&] { merge(model); }),
                 "[merge] model.layers.0.self_attn.q_proj has no bias: models of this family have no place for what"));
  CHECK(frozen_of(model) == before);
}

TEST_CASE("methods: what no weight can do is not merged, and the reason is said") {
  const auto refused = [](const Method& method) {
    auto model = load_llama<float>(Golden("llama2").folder());
    prepare(model, method);
    const auto before = frozen_of(model);
    const std::string message = message_of([&] { merge(model); });
    CHECK(frozen_of(model) == before);
    return message;
  };
  CHECK(contains(refused(Attached<PromptTuning>{}),
                 "[merge] the adapter beside the model cannot be merged: its virtual tokens stand before the text"));
  CHECK(contains(refused(Attached<PrefixTuning>{}), "its keys and values belong to no token of the text"));
  CHECK(contains(refused(Attached<Bottleneck>{}), "between its two products stands a non-linearity"));
  auto model = load_llama<float>(Golden("qwen2").folder());
  attach(model, std::vector<std::string>{"q_proj"}, LoRA{.r = 2, .use_dora = true});
  attach(model, BitFit{});
  CHECK(contains(message_of([&] { merge(model); }), "merge them one by one"));
}
