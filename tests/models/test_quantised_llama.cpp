// A model whose linears are quantised: the same numbers as the dense model its codes stand for, through files and back.
#include "golden.hpp"
#include "support/files.hpp"

#include <hone/models/llama_folder.hpp>
#include <hone/optim/adamw.hpp>
#include <hone/peft/lora.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <map>

using namespace hone;
using hone::test::Golden;
using hone::test::message_of;

namespace {

const Quantisation every_way[] = {
    {}, {.double_quant = false, .skip_modules = {"k_proj", "model.layers.0.mlp"}}, {.type = QuantType::int8}};

LlamaConfig quantised_config(const Golden& golden, const Quantisation& how) {
  auto config = read_llama_config(golden.folder());
  config.quantization = how;
  return config;
}

/// All bytes of the base by name.
template <class Model>
std::map<std::string, std::vector<double>> contents(Model& model) {
  std::map<std::string, std::vector<double>> out;
  const auto add = [&](const std::string& name, const auto& tensor) { tensor.copy_to(out[name]); };
  model.visit(add);
  visit_quantised(model, [&](const std::string& module, const auto& weight) {
    weight.visit([&](const char* name, const auto& tensor) { add(module + "." + name, tensor); });
  });
  return out;
}

/// Loss and gradients of the adapters of one batch.
std::vector<double> adapter_gradients(Llama<float>& model, const Batch& batch, Recompute recompute) {
  model.recompute = recompute;
  auto loss = model.loss(batch);
  loss.backward();
  std::vector<double> out = {loss.sum.item()};
  model.visit_adapters([&](const std::string&, auto& weight) {
    for (const auto value : weight.gradient().to_vector()) out.push_back(static_cast<double>(value));
    weight.slot()->clear();
  });
  return out;
}

}  // namespace

TEST_CASE("a quantised model computes what its dequantised one does, bit for bit, and stays as it is") {
  const Golden golden("llama3.2");
  for (const Quantisation& how : every_way) {
    CAPTURE(name_of(how.type));
    auto model = load_llama<float>(golden.folder(), Cpu{}, quantised_config(golden, how));
    test::TemporaryFolder folder;
    save_llama(model, folder / "quantised", golden.folder());
    auto back = load_llama<float>(folder / "quantised");
    CHECK(back.config().quantization->type == how.type);
    const auto before = contents(model);
    CHECK(contents(back) == before);

    auto config = back.config();
    config.quantization.reset();
    auto dense = load_llama<float>(folder / "quantised", Cpu{}, config);
    const Batch batch = golden.batch(1);
    CHECK(model.logits(batch).to_vector() == dense.logits(batch).to_vector());
    CHECK(test::largest_difference(model.logits(golden.batch(0)).to_vector(),
                                   load_llama<float>(golden.folder()).logits(golden.batch(0)).to_vector()) > 1e-4);

    for (auto* one : {static_cast<Llama<float>*>(&model), static_cast<Llama<float>*>(&dense)})
      attach(*one, "all-linear", LoRA{.r = 4});
    CHECK(model.logits(batch).to_vector() == dense.logits(batch).to_vector());  // step 0 is the quantised base
    const auto wanted = adapter_gradients(dense, batch, Recompute::none);
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full})
      CHECK(adapter_gradients(model, batch, recompute) == wanted);
    AdamW optimizer(model.trainable_parameters(), {.learning_rate = 1e-2});
    for (int step = 0; step < 2; ++step) {
      model.loss(batch).backward();
      optimizer.step();
    }
    CHECK(model.logits(batch).to_vector() != dense.logits(batch).to_vector());
    CHECK(contents(model) == before);  // codes and scales, after the adapters have moved
  }
}

TEST_CASE("quantised linears have no gradient; the rest of a model may train") {
  const Golden golden("qwen2");
  auto model = load_llama<float>(golden.folder(), Cpu{}, quantised_config(golden, {}));
  model.set_base_trainable(true);
  auto loss = model.loss(golden.batch(0));
  loss.backward();
  std::set<std::string> names;
  model.visit([&](const std::string& name, const Tensor<float>& weight) {
    names.insert(name);
    for (const float value : weight.gradient().to_vector()) REQUIRE(std::isfinite(value));
  });
  CHECK(names.contains("model.layers.0.self_attn.q_proj.bias"));
  CHECK_FALSE(names.contains("model.layers.0.self_attn.q_proj.weight"));
}

TEST_CASE("bad quantised files are refused by the tensor's name") {
  const Golden golden("llama3.2");
  test::TemporaryFolder folder;
  auto model = load_llama<float>(golden.folder(), Cpu{}, quantised_config(golden, {}));
  const auto save = [&](const auto& change) {
    auto sources = base_sources(model);
    change(sources);
    std::filesystem::create_directories(folder / "bad");
    write_weights(sources, folder / "bad");
  };
  const auto refused = [&](const Quantisation& how) {
    const auto config = quantised_config(golden, how);
    Llama<float> target(config, Cpu{});
    return message_of([&] { read_weights(target, TensorFiles(folder / "bad"), config.tie_word_embeddings); });
  };
  const auto contains = [](const std::string& text, std::string_view part) { return text.find(part) != text.npos; };
  const auto named = [](std::vector<TensorSource>& sources, std::string_view name) -> TensorSource& {
    for (auto& source : sources)
      if (source.declaration.name == name) return source;
    throw std::logic_error("no such tensor");
  };
  const std::string q = "model.layers.0.self_attn.q_proj";

  save([](auto&) {});
  CHECK(contains(refused({.type = QuantType::int8}), q + ".weight' is stored as nf4, int8 was expected"));
  CHECK(contains(refused({.double_quant = false}), "the scales are quantised, the config says otherwise"));
  save([&](auto& sources) {
    std::erase_if(sources, [&](const auto& s) { return s.declaration.name == q + ".weight.absmax"; });
  });
  CHECK(contains(refused({}), "has no tensor '" + q + ".weight.absmax'"));
  save([&](auto& sources) {
    auto& source = named(sources, q + ".weight.nested_absmax");
    const auto count = static_cast<std::size_t>(source.declaration.shape.elements());
    source.write = [count](TensorSink& sink) {
      const std::vector<float> bad(count, std::numeric_limits<float>::infinity());
      sink.write(bad.data(), static_cast<std::int64_t>(count));
    };
  });
  CHECK(contains(refused({}), q + ".weight.nested_absmax': element 0 is inf"));
  save([&](auto& sources) {
    auto& source = named(sources, q + ".weight.quant_map");
    source.write = [](TensorSink& sink) {
      const std::vector<float> other(16, 0.5f);
      sink.write(other.data(), 16);
    };
  });
  CHECK(contains(refused({}), q + ".weight.quant_map' is not the table of nf4"));
  save([&](auto& sources) {
    auto& source = named(sources, q + ".weight.quant_state.bitsandbytes__nf4");
    const std::string text = R"({"quant_type": "nf4", "blocksize": 64, "shape": [1, 2]})";
    source.declaration.shape = {static_cast<std::int64_t>(text.size())};
    source.write = [text](TensorSink& sink) { sink.write(std::as_bytes(std::span(text))); };
  });
  CHECK(contains(refused({}), "shape (1, 2) where"));
}

TEST_CASE("a weight that is not finite is named when it is to be quantised") {
  const Golden golden("llama3.2");
  test::TemporaryFolder folder;
  auto model = load_llama<float>(golden.folder());
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto spoil = [&](float value) {
    model.visit([&](const std::string& one, Tensor<float>& weight) {
      if (one == name) weight.data()[77] = value;
    });
    std::filesystem::create_directories(folder / "bad");
    write_weights(base_sources(model), folder / "bad");
  };
  const auto refused = [&](const Quantisation& how) {
    const auto config = quantised_config(golden, how);
    Llama<float> target(config, Cpu{});
    return message_of([&] { read_weights(target, TensorFiles(folder / "bad"), config.tie_word_embeddings); });
  };
  for (const auto& [value, text] : {std::pair{std::numeric_limits<float>::infinity(), "element 77 is inf"},
                                    std::pair{std::numeric_limits<float>::quiet_NaN(), "element 77 is nan"}}) {
    spoil(value);
    for (const Quantisation& how : every_way) {
      const std::string message = refused(how);
      CHECK(message.find(name) != message.npos);
      CHECK(message.find(text) != message.npos);
    }
  }
  spoil(1e6f);
  CHECK(refused({.type = QuantType::int8}).find(": int8 is made from fp16") != std::string::npos);
}
