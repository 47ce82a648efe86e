#include "engine.hpp"
#include "plan.hpp"

#include <hone/io/utf8.hpp>
#include <hone/models/count_only_models.hpp>
#include <hone/models/known_models.hpp>
#include <hone/models/llama_folder.hpp>
#include <hone/plan/plan.hpp>
#include <hone/plan/refusal.hpp>
#include <hone/train/auto_settings.hpp>

#include <thread>

namespace hone::cli {
namespace {

namespace fs = std::filesystem;

/// A folder, a config.json, or a name of models/known_models.hpp.
LlamaConfig find_model(const std::string& model, fs::path& folder) {
  check(!model.empty(), "model: a name (llama-3.1-8b), a Hugging Face folder or a config.json is needed (--model)");
  std::error_code unreadable;
  if (fs::is_directory(model, unreadable)) {
    folder = model;
    return read_llama_config(folder / "config.json");
  }
  if (fs::exists(model, unreadable)) {
    folder = fs::path(model).parent_path();
    return read_llama_config(model);
  }
  if (auto known = find_known_model(model)) return *std::move(known);
  std::vector<std::string> names = known_model_names();
  for (const CountOnlyModel& one : count_only_models) names.emplace_back(one.name);
  fail("model: '{}' is no folder, no config.json and no name known here; the nearest names are {}", printable(model),
       join_or(nearest_names(model, names, 3)));
}

/// What the driver keeps for a process: its context, and the code of the libraries that are loaded.
Driver assumed_driver() {
  return {std::int64_t{512} << 20, "assumed, not measured: context and loaded libraries of one process"};
}

/// The machine's own card, where `--device cuda` names none.
std::optional<Card> card_here(const TrainFlags& flags, const Gpu* gpu) {
  if (flags.device != "cuda" || gpu != nullptr) return std::nullopt;
  try {
    return local_card();
  } catch (const Error& error) {
    fail("device: which card? name it with --gpu (\"RTX 4090\"), for there is none to ask here: {}", error.what());
  }
}

std::optional<Driver> choose_driver(const Gpu* gpu, const std::optional<Card>& card) {
  if (card && card->context_bytes > 0) return Driver{card->context_bytes, "measured on this machine's " + card->name};
  return gpu != nullptr || card ? std::optional(assumed_driver()) : std::nullopt;
}

Target choose_target(const TrainFlags& flags, const Gpu* gpu, const std::optional<Card>& card) {
  check(flags.device == "auto" || flags.device == "cpu" || flags.device == "cuda",
        "device: '{}' cannot be planned for; choose auto, cpu or cuda", flags.device);
  check(flags.device != "cpu" || gpu == nullptr, "device: cpu and a card ({}) exclude each other",
        gpu == nullptr ? "" : gpu->name);
  if (gpu != nullptr || card) return gpu::cuda_target(card ? card->sm : gpu->sm);
  const int threads = flags.threads > 0 ? flags.threads : static_cast<int>(std::thread::hardware_concurrency());
  return {.kind = DeviceKind::cpu, .threads = std::max(1, threads), .isa = best_isa()};
}

/// `auto` is fp32 on the processor; on a card everything computes in bf16, with fp32 masters where the base trains.
Policy choose_policy(const TrainConfig& config, const Gpu* gpu, const Target& target) {
  const bool bf16_missing = gpu != nullptr && !gpu->has_bf16();
  check(!bf16_missing || config.dtype == "auto" || config.dtype == "fp32",
        "dtype: {} (sm_{}) does not compute in bf16; choose fp32", gpu == nullptr ? "" : gpu->name,
        gpu == nullptr ? 0 : gpu->sm);
  if (config.dtype != "auto" || target.kind == DeviceKind::cpu || bf16_missing) return policy_named(config.dtype);
  return config.full() ? policy::mixed : policy::bf16;
}

TrainingData read_rows(const TrainConfig& config, const LlamaConfig& model, const fs::path& folder) {
  const auto tokenizer = folder.empty() ? std::nullopt : load_tokenizer(folder, model);
  check(tokenizer.has_value(),
        "data: reading rows needs a tokenizer; --model must be a folder with a tokenizer.json in it");
  return load_training_data(config, *tokenizer);
}

}  // namespace

PlanConfig with_rows_of(const PlanRequest& request, const PlanConfig& config) {
  return request.rows ? with_rows(config, request.run, *request.rows) : config;
}

Plan plan_of_variant(const PlanRequest& request, const PlanConfig& config) {
  return hone::plan(with_rows_of(request, config), request.target);
}

std::int64_t peak_of_variant(const PlanRequest& request, const PlanConfig& config) {
  return peak_bytes(with_rows_of(request, config), request.target);
}

PlanRequest make_request(const TrainFlags& flags, const Gpu* gpu) {
  validate_settings(flags.config);
  PlanRequest out;
  out.model = flags.config.model;
  fs::path folder;
  const LlamaConfig model = with_quantisation(find_model(out.model, folder), flags.config);
  out.run = with_defaults(flags.config, model);
  const std::optional<Card> card = card_here(flags, gpu);
  out.target = choose_target(flags, gpu, card);
  out.driver = choose_driver(gpu, card);
  const Policy policy = choose_policy(out.run, gpu, out.target);
  check(out.run.eval_data.empty() || !out.run.data.empty(),
        "eval_data: rows to validate on need rows to train on "
        "(--data)");
  if (!out.run.data.empty()) out.rows = read_rows(out.run, model, folder);
  if (wants_auto(out.run)) {
    const bool fill_card = out.run.vram_budget == 0;
    const std::int64_t budget = fill_card && gpu != nullptr ? gpu->memory_bytes() - out.driver->bytes
                                : fill_card && card         ? card->free_bytes
                                                            : automatic_budget(out.run);
    out.run =
        resolve_auto(out.run, model, policy, budget, [&](const PlanConfig& one) { return peak_of_variant(out, one); });
  }
  out.config = with_rows_of(out, plan_config(out.run, model, policy));
  TrainConfig with_lora = out.run;
  with_lora.method = "lora";
  out.lora = std::get<LoraTuning>(step_config(with_lora, policy).method);
  return out;
}

void enforce_budget(const PlanRequest& request, const Plan& plan) {
  const std::int64_t budget = request.run.vram_budget;
  if (budget <= 0 || plan.peak_bytes <= budget) return;
  throw OutOfMemory(refusal(plan, request.config, budget,
                            {.fixed = {}, .lora = request.lora, .offload = is_card(request.target)},
                            [&](const PlanConfig& one) { return peak_of_variant(request, one); }));
}

}  // namespace hone::cli
