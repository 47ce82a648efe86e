// Whole runs of a tiny model: what is written, that memory is as planned, that a resumed run ends in the same bits.
#include <hone/models/quantise_folder.hpp>
#include <hone/peft/adapters.hpp>
#include <hone/train/trainer.hpp>

#include "support/data.hpp"
#include "support/files.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace hone;

namespace {

/// A folder with a random model of 50 thousand parameters and the bundled tokenizer.
void make_model(const std::filesystem::path& folder) {
  const auto bundled = std::filesystem::path(HONE_SOURCE_DIR) / "examples" / "data" / "tiny";
  auto config = read_llama_config(bundled / "config.json");
  config.hidden_size = 24;
  config.intermediate_size = 176;  // matrices of 4,224 numbers, enough for moments of 8 bits
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 6;
  Llama<float> model(config, Cpu{});
  initialise(model, 3, 0.2);
  save_llama(model, folder, bundled);
}

void make_rows(const std::filesystem::path& path) {
  std::string text;
  for (int i = 0; i < 22; ++i)
    text += fmt::format("{{\"prompt\": \"name[Item{}] | price[${}]\\n\", \"completion\": \" Item{} costs ${}{}.\"}}\n",
                        i, i * 3 % 17, i, i * 3 % 17, std::string(static_cast<std::size_t>(i % 5) * 4, 'x'));
  write_file(path, text);
}

/// The folder of one test: a model, rows, and the runs that a test makes there.
class RunFolder {
 public:
  RunFolder() {
    make_model(folder_ / "model");
    make_rows(folder_ / "rows.jsonl");
  }
  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }

  TrainConfig config(const std::string& output) const {
    TrainConfig out;
    out.model = folder_ / "model";
    out.data = folder_ / "rows.jsonl";
    out.output_dir = folder_ / output;
    out.max_length = 128;
    out.val_size = 0.1;
    out.num_epochs = 2;
    out.learning_rate = 5e-3;
    out.lora_r = 4;
    out.lora_dropout = 0.1;
    out.save_steps = 3;
    out.save_total_limit = 20;
    return out;
  }

 private:
  test::TemporaryFolder folder_;
};

TrainSummary run(const TrainConfig& config, const Policy& policy = policy::fp32, int threads = 2) {
  const Cpu device(Cpu::Options{.threads = threads});
  if (policy.compute == DType::bf16) return train<bf16>(config, policy, device, Console::quiet());
  return train<float>(config, policy, device, Console::quiet());
}

/// All bytes below a folder, by relative path.
std::map<std::string, std::string> contents(const std::filesystem::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      out[std::filesystem::relative(entry.path(), folder).string()] = read_file(entry.path());
  return out;
}

}  // namespace

TEST_CASE("a resumed run ends in the bits of the run that was never stopped") {
  const RunFolder place;
  struct Case {
    const char* method;
    Policy policy;
    const char *optimizer, *recompute, *resumed_recompute;
  };
  for (const Case& one : {Case{"lora", policy::fp32, "adamw", "none", "selective"},
                          {"full", policy::mixed, "adamw_8bit", "selective", "full"},
                          {"full", policy::bf16, "adamw_bf16", "full", "none"},
                          {"prefix", policy::fp32, "adamw", "selective", "none"},
                          {"prompt", policy::mixed, "adamw", "none", "full"},
                          {"bottleneck", policy::fp32, "sgd", "full", "selective"}}) {
    const std::string method = one.method;
    const Policy policy = one.policy;
    CAPTURE(method);
    CAPTURE(policy.name);
    auto config = place.config(fmt::format("whole-{}-{}", method, policy.name));
    config.method = method;
    config.optimizer = one.optimizer;
    config.gradient_checkpointing = one.recompute;
    config.gradient_accumulation_steps = 2;
    config.num_virtual_tokens = 4;
    config.prefix_projection = true;
    const auto whole = run(config, policy, 2);
    CHECK(whole.planned_bytes == whole.actual_bytes);
    CHECK(whole.steps == 6);

    const std::filesystem::path first(config.output_dir),
        second = place / fmt::format("resumed-{}-{}", method, policy.name);
    auto resumed = config;
    resumed.output_dir = second;
    resumed.resume = first / "checkpoint-3";
    resumed.gradient_checkpointing = one.resumed_recompute;
    const auto rest = run(resumed, policy, 1);  // other threads, other recompute, the same bits
    CHECK(rest.steps == whole.steps);
    CHECK(whole.validation.before.has_value());
    CHECK(rest.validation == whole.validation);  // also what was measured before the run was cut off
    CHECK(contents(first / "last") == contents(second / "last"));
    const auto state = "checkpoint-6/optimizer.safetensors";
    CHECK(read_file(first / state) == read_file(second / state));
    const TensorFiles files(first / state);
    if (config.optimizer == "adamw_8bit") {
      CHECK(files.dtype("model.layers.1.mlp.up_proj.weight.exp_avg") == DType::u8);
      CHECK(files.shape("model.layers.1.mlp.up_proj.weight.exp_avg_sq.absmax") == Shape{17});
      CHECK(files.dtype("model.norm.weight.exp_avg") == DType::f32);  // too few numbers
      CHECK(files.dtype("model.embed_tokens.weight.exp_avg") == DType::f32);
    } else if (config.optimizer == "adamw_bf16") {
      CHECK(files.dtype("model.norm.weight.exp_avg_sq") == DType::bf16);
    }
  }
}

TEST_CASE("a run learns, writes its metrics, keeps best and last, and does not go on as another run") {
  const RunFolder place;
  auto config = place.config("out");
  config.num_epochs = 6;
  config.save_total_limit = 2;
  const auto summary = run(config);
  CHECK(*summary.validation.last < 0.9 * *summary.validation.before);
  const std::filesystem::path out(config.output_dir);
  CHECK(list_checkpoints(out).size() == 2);
  CHECK(std::filesystem::exists(out / "best" / "adapter_model.safetensors"));
  CHECK(std::filesystem::exists(out / "last" / "adapter_config.json"));
  std::int64_t steps = 0, evaluations = 0;
  for (const auto& line : read_lines(out / "metrics.jsonl")) {
    const auto json = parse_json(line, "metrics.jsonl");
    steps += json.contains("loss") ? 1 : 0;
    evaluations += json.contains("eval_loss") ? 1 : 0;
  }
  CHECK(steps == summary.steps);
  CHECK(evaluations == 7);  // before the first step and after each of six epochs

  auto other = config;
  other.resume = "true";
  other.learning_rate = 1e-3;
  CHECK(test::contains(test::message_of([&] { run(other); }), "other data, another base or other settings"));
}

TEST_CASE("a run's state keeps the hash of its GEMM tuning; states of runs that knew none are read as well") {
  TrainerState state;
  state.step = 7;
  state.gemm_tuning = "0123456789abcdef";
  auto json = state.to_json();
  CHECK(TrainerState::from_json(json, "t").gemm_tuning == "0123456789abcdef");
  CHECK(TrainerState::from_json(json, "t").step == 7);
  json.erase("gemm_tuning");
  CHECK(TrainerState::from_json(json, "t").gemm_tuning.empty());
}

TEST_CASE("gradient accumulation over ragged rows equals the large batch") {
  const RunFolder place;
  auto large = place.config("large"), small = place.config("small");
  large.lora_dropout = small.lora_dropout = 0;  // masks are drawn by batch
  small.batch_size = 2;
  small.gradient_accumulation_steps = 2;
  const auto a = run(large), b = run(small);
  CHECK(a.steps == b.steps);
  CHECK(*a.validation.last == doctest::Approx(*b.validation.last).epsilon(1e-5));
}

TEST_CASE("steps that are not finite are skipped and reported") {
  const RunFolder place;
  auto config = place.config("out");
  config.method = "full";
  config.optimizer = "sgd";
  config.max_grad_norm = 0;
  config.learning_rate = 100;
  config.momentum = 0;
  config.num_epochs = 4;
  CHECK(run(config).skipped > 0);
  config.output_dir = place / "stopped";
  config.on_nonfinite = "stop";
  CHECK(test::contains(test::message_of([&] { run(config); }), "not finite"));
}

TEST_CASE("early stopping, budgets and nonsense end a run with a sentence") {
  const RunFolder place;
  auto config = place.config("early");
  config.learning_rate = 0;
  config.num_epochs = 8;
  config.early_stopping_patience = 2;
  CHECK(run(config).steps < 40);

  const auto refused = [&](auto change) {
    auto bad = place.config("bad");
    change(bad);
    return test::message_of([&] { run(bad); });
  };
  CHECK(test::contains(refused([](auto& c) { c.vram_budget = 1000; }), "vram_budget"));
  CHECK(test::contains(refused([](auto& c) { c.learning_rate = std::numeric_limits<double>::quiet_NaN(); }),
                       "learning_rate"));
  CHECK(test::contains(refused([](auto& c) { c.batch_size = -1; }), "batch_size"));
  CHECK(test::contains(refused([](auto& c) { c.loss_chunk = 63; }), "loss_chunk"));
  CHECK(test::contains(refused([](auto& c) { c.max_length = 100000; }), "max_length"));
  CHECK(test::contains(refused([](auto& c) { c.lora_r = 0; }), "rank"));
  CHECK(test::contains(refused([](auto& c) { c.target_modules = {"no_such_proj"}; }), "no_such_proj"));
  CHECK(test::contains(refused([&](auto& c) { c.data = place / "missing.jsonl"; }), "missing.jsonl"));
}

TEST_CASE("QLoRA: quantising on the way is training on the quantised folder; its base stays as it is") {
  const RunFolder place;
  for (const bool four : {true, false}) {
    CAPTURE(four);
    auto config = place.config(fmt::format("loaded-{}", four));
    (four ? config.load_in_4bit : config.load_in_8bit) = true;
    config.llm_int8_skip_modules = {"k_proj"};
    config.gradient_checkpointing = "selective";
    const auto loaded = run(config);
    CHECK(loaded.planned_bytes == loaded.actual_bytes);
    CHECK(*loaded.validation.best < *loaded.validation.before - 0.1);

    const auto stored = place / fmt::format("stored-{}", four);
    const auto done = quantise_folder(place / "model", stored,
                                      {.type = four ? QuantType::nf4 : QuantType::int8, .skip_modules = {"k_proj"}});
    CHECK(done.linears.elements == 2 * (24 * 24 * 2 + 24 * 12 + 3 * 24 * 176));
    CHECK(done.parameters == loaded.parameters - loaded.trainable);
    const auto before = contents(stored);
    auto again = place.config(fmt::format("stored-run-{}", four));
    again.model = stored;
    again.gradient_checkpointing = "full";
    const auto trained = run(again);
    CHECK(trained.planned_bytes == trained.actual_bytes);
    CHECK(trained.validation.before == loaded.validation.before);
    CHECK(contents(stored) == before);
    CHECK(contents(std::filesystem::path(again.output_dir) / "last")["adapter_model.safetensors"] ==
          contents(std::filesystem::path(config.output_dir) / "last")["adapter_model.safetensors"]);

    again.output_dir = place / "refused";
    again.method = "full";
    CHECK(test::message_of([&] { run(again); }).find("weights have no gradient; choose lora") != std::string::npos);
    again.method = "lora";
    (four ? again.load_in_8bit : again.load_in_4bit) = true;
    CHECK(test::message_of([&] { run(again); }).find("the model is stored as") != std::string::npos);
  }
}

TEST_CASE("a stage trains on top of an earlier one, which stays as it is, and tells what it forgot of it") {
  const RunFolder folder;
  std::string other;
  for (int i = 0; i < 14; ++i)
    other += fmt::format("{{\"prompt\": \"colour {}\\n\", \"completion\": \" {} is blue\"}}\n", i, i * i);
  write_file(folder / "other.jsonl", other);
  auto general = folder.config("general");
  general.eval_data = folder / "rows.jsonl";
  general.target_modules = {"q_proj", "down_proj"};
  const auto first = run(general);
  const auto kept = contents(folder / "general/last");

  auto task = folder.config("task");
  task.data = task.eval_data = folder / "other.jsonl";
  task.lora_dropout = 0;
  task.stack_on = {{"general", folder / "general/last"}};
  task.also_evaluate = {{"general", folder / "rows.jsonl"}};
  const auto second = run(task);
  CHECK(second.planned_bytes == second.actual_bytes);
  REQUIRE(second.earlier.size() == 1);
  // It begins where the stage before ended, and is told what becomes of that.
  CHECK(*second.earlier[0].before == doctest::Approx(*first.validation.last).epsilon(1e-6));
  CHECK(*second.earlier[0].last > *second.earlier[0].before);
  CHECK(*second.validation.last < *second.validation.before - 0.1);
  CHECK(second.trainable > first.trainable);  // all linears, and of this stage alone
  CHECK(contents(folder / "general/last") == kept);
  const auto json = read_json_file(folder / "task/stages.json");
  REQUIRE(json.size() == 2);
  CHECK(json[0]["name"] == "this run");
  CHECK(json[1]["name"] == "general");
  CHECK(json[1]["last"].get<double>() == *second.earlier[0].last);
  CHECK(read_stages({{"losses", json}}, "losses", "t") == std::vector<StageLoss>{second.validation, second.earlier[0]});
  const auto table = stage_table({second.validation, second.earlier[0]});
  CHECK(table.size() == 3);
  CHECK(table[2].starts_with("general "));

  // What was saved is the new adapter alone; with the one below it, it gives the run's last loss.
  const auto valid = load_examples(folder / "other.jsonl", load_llama<float>(folder / "model").tokenizer(), {128});
  const auto loss_with = [&](const std::vector<std::string>& names) {
    auto model = load_llama<float>(folder / "model");
    Adapters<PretrainedLlama<float>> adapters(model);
    AdapterNotes notes;
    for (const std::string& name : names) notes = adapters.load(name, folder / (name + "/last"));
    CHECK(notes.size() == (names.size() == 1 ? 1 : 0));  // that it was trained on top of another
    adapters.set(names);
    double sum = 0;
    std::int64_t tokens = 0;
    for (const Example& one : valid.items) {
      const auto batch = make_batch(std::span<const Example>(&one, 1));
      for (const double loss : model.token_losses(batch)) sum += loss;
      tokens += batch.supervised();
    }
    return sum / static_cast<double>(tokens);
  };
  CHECK(loss_with({"general", "task"}) == doctest::Approx(*second.validation.last).epsilon(1e-6));
  CHECK(loss_with({"task"}) > *second.validation.last + 1e-3);

  // A run that goes on with other stages takes nothing of one for another.
  auto other_stages = task;
  other_stages.output_dir = folder / "other stages";
  other_stages.resume = folder / "task/checkpoint-3";
  other_stages.also_evaluate = {{"new", folder / "other.jsonl"}, {"general", folder / "rows.jsonl"}};
  const auto third = run(other_stages);
  REQUIRE(third.earlier.size() == 2);
  CHECK(!third.earlier[0].before);
  CHECK(*third.earlier[0].last == doctest::Approx(*third.validation.last).epsilon(1e-6));
  CHECK(third.earlier[1] == second.earlier[0]);

  const auto refused = [&](auto change) {
    auto bad = task;
    bad.output_dir = folder / "bad";
    change(bad);
    return test::message_of([&] { run(bad); });
  };
  using test::contains;
  CHECK(contains(refused([](auto& c) { c.also_evaluate[0].first = "this run"; }), "also_evaluate: 'this run' is what"));
  CHECK(contains(refused([](auto& c) { c.method = "ia3"; }), "stack_on: only lora trains on top of other adapters"));
  CHECK(contains(refused([](auto& c) { c.use_dora = true; }), "stack_on: DoRA scales what lies below"));
  CHECK(contains(refused([](auto& c) { c.modules_to_save = {"norm"}; }), "stack_on: modules_to_save would change"));
  CHECK(contains(refused([](auto& c) { c.stack_on[0].first = "default"; }), "stack_on: 'default' is the name"));
  CHECK(contains(refused([](auto& c) { c.stack_on.push_back(c.stack_on[0]); }), "the name 'general' is given twice"));
  CHECK(contains(refused([](auto& c) { c.stack_on[0].second = c.model; }), "adapter_config.json] cannot be opened"));
  CHECK(contains(refused([](auto& c) {
                   c.stack_on.clear();
                   c.output_dir = c.output_dir.substr(0, c.output_dir.size() - 3) + "task";
                   c.resume = "true";
                 }),
                 "belongs to a run with other data, another base or other settings"));
  auto deep = general;
  deep.output_dir = folder / "deep";
  deep.target_modules = {"model.layers.1.mlp.up_proj"};
  run(deep);
  const auto stage = stacked_lora("deep", folder / "deep/last");
  CHECK(stage.modules.size() == 1);
  auto config = read_llama_config(folder / "model/config.json");
  config.num_hidden_layers = 1;
  Llama<float> shallow(config, Cpu{});
  CHECK(contains(test::message_of([&] { put_stacked(shallow, stage); }),
                 "[stack] 'deep' sits on model.layers.1.mlp.up_proj, which this model does not have"));

  // A stage without the one that it was trained on is told of; half of a LoRA is refused.
  Llama<float> two_layers(read_llama_config(folder / "model/config.json"), Cpu{});
  put_stacked(two_layers, stacked_lora("task", folder / "task/last"));
  const auto notes = read_stacked(two_layers, "task", folder / "task/last", folder / "model");
  REQUIRE(notes.size() == 1);
  CHECK(contains(notes[0], "was trained on top of other adapters; load them before it, by these names: general"));
  Llama<float> base(read_llama_config(folder / "model/config.json"), Cpu{});
  attach(base, "*.q_proj", LoRA{.r = 2});
  save_adapter(base, folder / "half");
  auto tensors = adapter_contents(base).tensors;
  tensors.erase(tensors.begin());
  write_weights(tensors, folder / "half", {.stem = "adapter_model"});
  CHECK(contains(test::message_of([&] { stacked_lora("half", folder / "half"); }),
                 "a LoRA is a lora_A and a lora_B: 3 tensors for 1 of them"));
}
