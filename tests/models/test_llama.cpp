// What a model promises beyond parity: documents do not see each other, accumulation is exact, folders keep every bit,
// and each policy trains.
#include <hone/models/llama_folder.hpp>
#include <hone/optim/adamw.hpp>
#include <hone/peft/lora.hpp>

#include <doctest/doctest.h>

#include "golden.hpp"
#include "support/compare.hpp"
#include "support/files.hpp"

using namespace hone;
using hone::test::Golden;

namespace {

Example document(int length, int salt) {
  Example out;
  for (int i = 0; i < length; ++i) {
    out.ids.push_back(static_cast<std::int32_t>(3 + (i * 7 + salt * 11 + i * i) % 90));
    out.supervised.push_back((i + salt) % 3 != 0);
  }
  return out;
}

Batch batch_of(const std::vector<Example>& examples) { return make_batch(examples); }

template <class T>
std::vector<std::vector<T>> weights_of(PretrainedLlama<T>& model) {
  std::vector<std::vector<T>> out;
  model.visit([&](const std::string&, const Tensor<T>& weight) { out.push_back(weight.to_vector()); });
  return out;
}

/// First and last loss of 30 steps on one batch.
template <class T>
std::pair<double, double> overfit(PretrainedLlama<T>& model, const AdamWOptions& options) {
  const Batch batch = batch_of({document(17, 1), document(9, 2)});
  AdamW optimizer(model.trainable_parameters(), options);
  std::pair<double, double> losses;
  for (int step = 0; step < 30; ++step) {
    auto loss = model.loss(batch);
    (step == 0 ? losses.first : losses.second) = loss.mean();
    loss.backward();
    CHECK_FALSE(optimizer.step().skipped);
  }
  return losses;
}

}  // namespace

TEST_CASE("llama: a document's logits do not depend on its neighbours") {
  for (const char* family : {"mistral", "qwen3"}) {
    CAPTURE(family);
    auto model = load_llama<float>(Golden(family).folder());
    const std::vector<Example> documents = {document(1, 1), document(13, 2), document(6, 3)};
    const auto together = model.logits(batch_of(documents));
    std::int64_t begin = 0;
    for (const Example& each : documents) {
      const auto length = static_cast<std::int64_t>(each.ids.size());
      CHECK(test::close(together.rows(begin, length), model.logits(batch_of({each})).rows(0, length), 1e-5, 1e-5));
      begin += length;
    }
  }
}

TEST_CASE("llama: ragged batches accumulated are one big batch") {
  const Golden golden("llama3.2");
  auto once = load_llama<float>(golden.folder()), pieces = load_llama<float>(golden.folder());
  AdamW one(once.trainable_parameters(), {.learning_rate = 1e-2}),
      two(pieces.trainable_parameters(), {.learning_rate = 1e-2});
  const std::vector<Example> documents = {document(21, 1), document(2, 2), document(9, 3)};
  for (int step = 0; step < 3; ++step) {
    once.loss(batch_of(documents)).backward();
    pieces.loss(batch_of({documents[0]})).backward();
    pieces.loss(batch_of({documents[1], documents[2]})).backward();
    const auto a = one.step(), b = two.step();
    CHECK(a.tokens == b.tokens);
    CHECK(a.grad_norm == doctest::Approx(b.grad_norm).epsilon(1e-5));
  }
  const Batch batch = batch_of(documents);
  const no_grad guard;
  CHECK(once.loss(batch).mean() == doctest::Approx(pieces.loss(batch).mean()).epsilon(1e-5));
}

TEST_CASE("llama: token losses sum to the loss") {
  auto model = load_llama<float>(Golden("smollm2").folder());
  const Batch batch = batch_of({document(12, 1), document(1, 2), document(7, 5)});
  const auto losses = model.token_losses(batch);
  REQUIRE(static_cast<std::int64_t>(losses.size()) == batch.supervised());
  double sum = 0;
  for (const double loss : losses) sum += loss;
  const no_grad guard;
  CHECK(model.loss(batch).sum.item() == doctest::Approx(sum).epsilon(1e-9));
}

TEST_CASE("llama: a saved folder loads with every bit, in one file or in shards") {
  for (const char* family : {"llama2", "llama3.2", "qwen2"}) {
    const Golden golden(family);
    const test::TemporaryFolder folder;
    auto model = load_llama<float>(golden.folder());
    save_llama(model, folder / "one", golden.folder());
    save_llama(model, folder / "shards", {}, {.max_shard_size = 20000});
    CHECK(std::filesystem::exists(folder / "one/model.safetensors"));
    CHECK(std::filesystem::exists(folder / "shards/model.safetensors.index.json"));
    for (const char* name : {"one", "shards"}) {
      auto again = load_llama<float>(folder / name);
      CHECK(weights_of(again) == weights_of(model));
      CHECK(again.config().rope_scaling == model.config().rope_scaling);
      CHECK(again.logits(golden.batch(0)).to_vector() == model.logits(golden.batch(0)).to_vector());
    }
  }
}

TEST_CASE("llama: the mixed and bf16 policies train; LoRA in float trains over a frozen bf16 base") {
  const auto folder = Golden("qwen3").folder();
  for (const Policy& policy : {policy::mixed, policy::bf16}) {
    CAPTURE(policy.name);
    auto model = load_llama<bf16>(folder);
    model.set_base_trainable(true, policy.gradients);
    const auto [first, last] = overfit(model, {.learning_rate = 5e-3, .update = policy.update});
    CHECK(last < 0.5 * first);
  }
  auto model = load_llama<bf16>(folder);
  attach(model, "all-linear", {.r = 4, .alpha = 16});
  const auto trained = model.trainable_parameters();
  CHECK(trained.items.size() == 28);
  for (const auto& item : trained.items) CHECK(item.dtype() == DType::f32);
  std::vector<std::vector<float>> before, after;
  const auto copy_base = [&](auto& out) {
    model.visit([&](const std::string&, const Tensor<bf16>& weight) {
      CHECK_FALSE(weight.requires_grad());
      out.emplace_back();
      for (const bf16 value : weight.to_vector()) out.back().push_back(static_cast<float>(value));
    });
  };
  copy_base(before);
  const auto [first, last] = overfit(model, {.learning_rate = 2e-2});
  copy_base(after);
  CHECK(last < 0.7 * first);
  CHECK(before == after);
}
