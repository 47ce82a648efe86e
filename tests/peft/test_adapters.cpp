// Several adapters on one base: switching, sums, combinations, rows of one batch, stages.
#include <hone/infer/generate_ensemble.hpp>
#include <hone/models/llama_folder.hpp>
#include <hone/optim/adamw.hpp>
#include <hone/peft/adapters.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "models/golden.hpp"
#include "support/files.hpp"
#include "support/random.hpp"

using namespace hone;
using hone::test::contains;
using hone::test::Golden;
using hone::test::message_of;

namespace {

using Model = PretrainedLlama<float>;
using Names = std::vector<std::string>;

Model base() { return load_llama<float>(Golden("qwen2").folder()); }

/// Three adapters that do something, of different ranks and places, as folders.
struct Folders {
  Folders() {
    write("a", Names{"q_proj", "v_proj"}, {.r = 4, .alpha = 8});
    write("b", Names{"q_proj", "down_proj"}, {.r = 2, .alpha = 6});
    write("c", Names{"q_proj", "v_proj"}, {.r = 4, .alpha = 4, .use_rslora = true});
  }
  void write(const std::string& name, const Names& target_modules, const LoRA& config) {
    auto model = base();
    attach(model, target_modules, config);
    std::uint64_t seed = stream_of(name);
    model.visit_adapters([&](const std::string&, auto& tensor) {
      using T = typename std::decay_t<decltype(tensor)>::Element;
      const auto values = test::random_values(tensor.elements(), seed++, -0.3, 0.3);
      tensor.copy_from(std::vector<T>(values.begin(), values.end()));
    });
    save_adapter(model, folder / name);
  }
  test::TemporaryFolder folder;
};

const Folders& folders() {
  static const Folders all;
  return all;
}

std::vector<float> alone(const std::string& name, const Batch& batch) {
  auto model = base();
  if (!name.empty()) load_adapter(model, folders().folder / name);
  return model.logits(batch).to_vector();
}

void load_all(Adapters<Model>& adapters) {
  for (const char* name : {"a", "b", "c"}) adapters.load(name, folders().folder / name);
}

double furthest(const std::vector<float>& x, const std::vector<float>& y) { return test::largest_difference(x, y); }

}  // namespace

TEST_CASE("adapters: switching gives the bits of each alone; none gives the base's") {
  const auto batch = Golden("qwen2").batch(0);
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  CHECK(adapters.names() == Names{"a", "b", "c"});
  CHECK(adapters.active() == Names{"a"});
  for (const char* name : {"b", "c", "a", "b"}) {
    adapters.set(name);
    CHECK(model.logits(batch).to_vector() == alone(name, batch));
  }
  adapters.disable();
  CHECK(model.logits(batch).to_vector() == alone("", batch));
  adapters.set("c");
  adapters.erase("b");
  CHECK(adapters.names() == Names{"a", "c"});
  CHECK(model.logits(batch).to_vector() == alone("c", batch));
}

TEST_CASE("adapters: weights scale what each adds, and active ones add up") {
  const auto batch = Golden("qwen2").batch(0);
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  adapters.weigh("a", 0.25);
  adapters.weigh("b", -0.5);
  adapters.set(Names{"a", "b"});
  const auto weighted = model.logits(batch).to_vector();
  adapters.add_weighted("mix", {"a", "b"}, {0.25, -0.5});
  CHECK(model.logits(batch).to_vector() == weighted);  // it does not act yet
  adapters.set("mix");
  CHECK(furthest(model.logits(batch).to_vector(), weighted) <= 2e-5);
  CHECK(furthest(model.logits(batch).to_vector(), alone("", batch)) > 1e-2);

  // The combination is an adapter like any other: it can be saved, and merged.
  const test::TemporaryFolder folder;
  save_adapter(model, folder / "mix", {}, "mix");
  auto other = base();
  load_adapter(other, folder / "mix");
  CHECK(furthest(other.logits(batch).to_vector(), weighted) <= 2e-5);
  CHECK(read_adapter_config(folder / "mix").rank_pattern.size() > 0);  // q_proj has 6, v_proj 4, down_proj 2
  merge(model);
  CHECK(furthest(model.logits(batch).to_vector(), weighted) <= 5e-5);
}

TEST_CASE("adapters: a linear combination sums As and Bs, with roots of weights as PEFT takes them") {
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  adapters.add_weighted("lin", {"a", "c"}, {0.5, -2}, Combination::linear);
  std::map<std::string, std::pair<std::vector<float>, std::vector<float>>> of;
  const std::string path = "model.layers.1.self_attn.v_proj";
  model.visit_linears([&](const std::string& here, Linear<float, Cpu>& linear, std::size_t part) {
    if (here != path) return;
    for (const auto& bypass : linear.bypasses(part)) {
      auto* lora = bypass.get_if<LoraBypass<float, Cpu>>();
      of[lora->adapter().name] = {lora->a().to_vector(), lora->b().to_vector()};
      if (lora->adapter().name == "lin") CHECK(lora->config().scale() == 1.0);
    }
  });
  const double of_a = std::sqrt(0.5 * 2), of_c = std::sqrt(2.0 * 2);  // scales: 8 / 4, and 4 / sqrt(4)
  for (std::size_t i = 0; i < of["lin"].first.size(); ++i)
    CHECK(of["lin"].first[i] == doctest::Approx(of_a * of["a"].first[i] - of_c * of["c"].first[i]).epsilon(1e-5));
  for (std::size_t i = 0; i < of["lin"].second.size(); ++i)
    CHECK(of["lin"].second[i] == doctest::Approx(of_a * of["a"].second[i] + of_c * of["c"].second[i]).epsilon(1e-5));
}

TEST_CASE("adapters: documents of one batch see each their own adapter, as in separate runs") {
  const auto batch = Golden("qwen2").batch(0);  // documents of 7, 12 and 1 tokens, then padding
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  const auto width = static_cast<std::size_t>(model.config().vocab_size);
  const no_grad guard;
  const auto before = model.logits(batch).to_vector();
  for (const Names& names : {Names{"a", "b", "c"}, Names{"b", "", "b"}, Names{"c", "c", "a"}, Names{"", "a"}}) {
    std::vector<float> got;
    {
      const auto mixed = adapters.mix(batch, names);
      got = model.logits(batch).to_vector();
    }
    for (std::size_t document = 0; document < 3; ++document) {
      const auto wanted = alone(document < names.size() ? names[document] : "", batch);
      const auto first = static_cast<std::size_t>(batch.documents[document]) * width,
                 last = static_cast<std::size_t>(batch.documents[document + 1]) * width;
      for (std::size_t i = first; i < last; ++i) CHECK(std::abs(got[i] - wanted[i]) <= 4e-6);
    }
  }
  CHECK(model.logits(batch).to_vector() == before);
  CHECK(adapters.active() == Names{"a"});
}

TEST_CASE("adapters: an ensemble is the mean of its members' logits") {
  const auto batch = Golden("qwen2").batch(0);
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  const auto got = ensemble_logits(model, adapters, {{{"a"}}, {{"b"}}, {}}, batch);
  const auto a = alone("a", batch), b = alone("b", batch), none = alone("", batch);
  for (std::size_t i = 0; i < got.size(); ++i)
    CHECK(got[i] ==
          doctest::Approx((static_cast<double>(a[i]) + static_cast<double>(b[i]) + static_cast<double>(none[i])) / 3)
              .epsilon(1e-6));
  CHECK(adapters.active() == Names{"a"});
}

TEST_CASE("adapters: losses of an ensemble are those of the mean of its members' logits") {
  const auto batch = Golden("qwen2").batch(0);
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  const std::vector<EnsembleMember> members = {{{"a"}, 1}, {{"b", "c"}, 2}, {{}, 1}};
  const auto got = ensemble_token_losses(model, adapters, members, batch);
  const auto logits = ensemble_logits(model, adapters, members, batch);
  const auto width = static_cast<std::size_t>(model.config().vocab_size);
  std::vector<double> wanted;
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    const double* row = logits.data() + static_cast<std::size_t>(batch.rows[i]) * width;
    double sum = 0;
    for (std::size_t v = 0; v < width; ++v) sum += std::exp(row[v]);
    wanted.push_back(std::log(sum) - row[batch.targets[i]]);
  }
  REQUIRE(got.size() == wanted.size());
  REQUIRE(!got.empty());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(wanted[i]).epsilon(1e-5));
  CHECK(ensemble_token_losses(model, adapters, {{{"a"}}}, batch) != got);
  CHECK(adapters.active() == Names{"a"});
}

TEST_CASE("adapters: a folder that does not load leaves the model and its name as they were") {
  auto model = base();
  Adapters<Model> adapters(model);
  const auto batch = Golden("qwen2").batch(0);
  const test::TemporaryFolder folder;
  std::filesystem::copy(folders().folder / "a", folder / "a");
  auto config = read_json_file(folder / "a" / "adapter_config.json");
  config["r"] = 5;  // the tensors are of rank 4, which is seen when they are read
  write_file(folder / "a" / "adapter_config.json", config.dump());
  CHECK(contains(message_of([&] { adapters.load("a", folder / "a"); }), "was expected"));
  CHECK(adapters.names().empty());
  CHECK_FALSE(has_adapters(model));
  CHECK(model.logits(batch).to_vector() == alone("", batch));
  adapters.load("a", folders().folder / "a");
  CHECK(model.logits(batch).to_vector() == alone("a", batch));
}

TEST_CASE("adapters: an ensemble generates what the mean of its members' logits says, token by token") {
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  adapters.set(Names{"b", "c"});
  const std::vector<std::int32_t> prompt = {5, 9, 11, 3};
  const GenerateOptions options{.sampling = {.temperature = 0}, .max_new_tokens = 12};
  const auto always = [](std::int32_t) { return true; };
  const std::vector<EnsembleMember> members = {{{"a"}, 1}, {{"b", "c"}, 2}, {{}, 1}};
  const auto got = generate_ensemble(model, adapters, members, prompt, options, always);
  REQUIRE(got.size() == 12);
  CHECK(adapters.active() == Names{"b", "c"});
  // The same without caches: the whole text before every token. Shares 1, 2, 1 are a member counted twice.
  auto all = prompt;
  for (const std::int32_t id : got) {
    Example one{all, std::vector<bool>(all.size(), true)};
    const auto batch = make_batch(std::span<const Example>(&one, 1), 1);
    const auto logits = ensemble_logits(model, adapters, {{{"a"}}, {{"b", "c"}}, {{"b", "c"}}, {}}, batch);
    const auto last = logits.end() - model.config().vocab_size;
    CHECK(id == std::max_element(last, logits.end()) - last);
    all.push_back(id);
  }
  // It is none of its members, and of one member it is that member.
  std::set<std::vector<std::int32_t>> texts = {got};
  for (const Names& names : {Names{"a"}, Names{"b", "c"}, Names{}}) {
    adapters.set(names);
    const auto alone = generate(model, prompt, options);
    CHECK(alone == generate_ensemble(model, adapters, {{names, 0.3}}, prompt, options, always));
    texts.insert(alone);
  }
  CHECK(texts.size() == 4);
  const auto refused = [&](const std::vector<EnsembleMember>& bad) {
    return message_of([&] { generate_ensemble(model, adapters, bad, prompt, options, always); });
  };
  CHECK(contains(refused({}), "[ensemble] there are no members"));
  CHECK(contains(refused({{{"a"}, 0}, {{"b"}, 0}}), "the shares sum to 0"));
  CHECK(contains(refused({{{"a"}, -1}, {{"b"}, 2}}), "a share of -1"));
  CHECK(contains(refused({{{"x"}, 1}}), "there is no adapter called 'x'"));
  CHECK(adapters.active().empty());
}

TEST_CASE("adapters: a stage trains on top of those before it, which stay as they are") {
  const Golden golden("qwen2");
  auto model = base();
  Adapters<Model> adapters(model);
  adapters.load("general", folders().folder / "a");
  adapters.attach("task", Names{"all-linear"}, {.r = 2, .alpha = 4});
  adapters.set(Names{"general", "task"});
  adapters.train_only("task");
  const auto before = alone("a", golden.batch(0));
  CHECK(model.logits(golden.batch(0)).to_vector() == before);  // a fresh stage changes no bit
  AdamW optimizer(model.trainable_parameters(), {.learning_rate = 1e-2});
  double first = 0, last = 0;
  for (int step = 0; step < 8; ++step) {
    auto loss = model.loss(golden.batch(0));
    last = loss.mean();
    if (step == 0) first = last;
    loss.backward();
    optimizer.step();
  }
  CHECK(last < first - 0.1);
  adapters.set("general");
  CHECK(model.logits(golden.batch(0)).to_vector() == before);
  adapters.train_only("general");  // trainable again, in buffers of its own
  auto loss = model.loss(golden.batch(0));
  loss.backward();
  for (const auto& parameter : model.trainable_parameters().items)
    CHECK(std::get<Tensor<float>>(parameter.value).slot()->filled());
  CHECK(model.trainable_parameters().items.size() == 8);
}

TEST_CASE("adapters: what cannot be is said") {
  auto model = base();
  Adapters<Model> adapters(model);
  load_all(adapters);
  const auto batch = Golden("qwen2").batch(0);
  CHECK(
      contains(message_of([&] { adapters.set("d"); }), "[adapters] there is no adapter called 'd' (nearest: a or b)"));
  CHECK(adapters.active() == Names{"a"});
  CHECK(contains(message_of([&] { adapters.load("a", folders().folder / "a"); }), "an adapter called 'a' already"));
  CHECK(contains(message_of([&] { adapters.add_weighted("x", {"a"}, {1, 2}); }), "1 adapters and 2 weights"));
  CHECK(contains(message_of([&] {
                   adapters.add_weighted("x", {"a", "b"}, {1, 2}, Combination::linear);
                 }),
                 "wants equal ranks"));
  CHECK(contains(message_of([&] { static_cast<void>(adapters.mix(batch, Names(9, "a"))); }), "9 names for a batch of"));
  CHECK(contains(message_of([&] { adapters.weigh("a", std::nan("")); }), "must be a finite number"));
  {
    const auto mixed = adapters.mix(batch, {"a"});
    CHECK(contains(message_of([&] { model.loss(batch); }), "for evaluation; guard it with no_grad"));
    current_tape().clear();
  }
  adapters.attach("d", Names{"q_proj"}, {.r = 2, .use_dora = true});
  CHECK(contains(message_of([&] { adapters.add_weighted("x", {"a", "d"}, {1, 1}); }), "cannot be combined"));
  adapters.set("d");
  adapters.weigh("d", 0.5);
  CHECK(contains(message_of([&] { model.logits(batch); }), "[dora] an adapter with DoRA cannot be weighted by 0.5"));
  CHECK(contains(message_of([&] { merge(model); }), "merge them one by one"));
}
