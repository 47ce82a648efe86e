// hone plan: what a run will occupy, compute and cost; and what fits into a budget.
#include "plan.hpp"

#include "commands.hpp"
#include "plan_answers.hpp"
#include "plan_compare.hpp"
#include "plan_html.hpp"
#include "plan_json.hpp"

#include <hone/core/human.hpp>
#include <hone/io/atomic_file.hpp>
#include <hone/io/utf8.hpp>
#include <hone/models/count_only_models.hpp>
#include <hone/plan/plan.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

namespace hone::cli {
namespace {

struct PlanFlags : TrainFlags {
  PlanQuestions questions;
  std::optional<std::string> budget_to_fill, gpu, fit, html;
  bool json = false, compare = false;

  bool asks_only_counts() const {
    return !budget_to_fill && !gpu && !fit && !html && !compare && questions.maximize.empty() && config.data.empty();
  }
};

bool states(const CLI::App& app, std::string_view key) { return app.get_option("--" + std::string(key))->count() > 0; }

/// The keys a person stated, on the command line or in a file: a search leaves them alone. Who speaks of LoRA means it.
FixedKeys stated_keys(const CLI::App& app) {
  FixedKeys out;
  for (const Setting& setting : memory_settings)
    if (states(app, setting.key)) out.insert(std::string(setting.key));
  for (const char* key :
       {"lora_r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "load_in_4bit", "load_in_8bit"})
    if (states(app, key)) out.insert("method");
  if (states(app, "load_in_8bit")) out.insert("load_in_4bit");
  return out;
}

const CountOnlyModel* find_count_only_model(const std::string& name) {
  if (std::error_code unreadable; std::filesystem::exists(name, unreadable)) return nullptr;
  const std::string own = name.substr(name.rfind('/') + 1);
  const auto found = std::ranges::find(count_only_models, own, &CountOnlyModel::name);
  return found == count_only_models.end() ? nullptr : &*found;
}

/// A model that can only be counted: its LoRA and nothing else.
int print_counts(const CountOnlyModel& model, const PlanFlags& flags) {
  check(flags.config.method == "lora" && flags.asks_only_counts(),
        "model: of {} hone knows the sizes alone; its LoRA can be counted (--lora_r, --target_modules, --json), and "
        "nothing else",
        model.name);
  const std::int64_t trainable = lora_parameters(model, flags.config.lora_r, flags.config.target_modules);
  if (flags.json) {
    const nlohmann::json out = {
        {"model", model.name}, {"parameters", model.parameters}, {"trainable_parameters", trainable}};
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf("%s: %s parameters, %s trainable with LoRA r = %lld (%.4f%%)\n", std::string(model.name).c_str(),
              with_commas(model.parameters).c_str(), with_commas(trainable).c_str(),
              static_cast<long long>(flags.config.lora_r),
              100.0 * static_cast<double>(trainable) / static_cast<double>(model.parameters));
  std::printf("its memory is not planned: hone trains models of the Llama family\n");
  return 0;
}

/// What flags say as text becomes what the questions hold.
void settle_questions(PlanFlags& flags) {
  PlanQuestions& questions = flags.questions;
  if (flags.budget_to_fill) questions.budget = parse_bytes("budget", *flags.budget_to_fill);
  if (flags.gpu) questions.gpu = &find_gpu(*flags.gpu);
  if (flags.fit) questions.fit = &find_gpu(*flags.fit);
  validate(questions);
}

/// A generation ends with 256 new tokens unless a number is stated, which the context must hold.
void settle_new_tokens(const PlanFlags& flags, PlanRequest& request) {
  const std::int64_t context = request.config.model.max_position_embeddings;
  const auto& stated = flags.questions.max_new_tokens;
  check(!stated || (*stated >= 0 && *stated < context),
        "max_new_tokens: {} must be 0 or more and below the model's "
        "context of {}",
        stated.value_or(0), context);
  request.config.max_new_tokens =
      stated.value_or(std::min(request.config.max_new_tokens, request.config.max_length - 1));
}

int plan(PlanFlags& flags, const CLI::App& app) {
  settle(flags);
  if (const CountOnlyModel* counted = find_count_only_model(flags.config.model)) return print_counts(*counted, flags);
  settle_questions(flags);
  const PlanQuestions& questions = flags.questions;
  const FixedKeys stated = stated_keys(app);
  // Where a budget is to be filled and no method is stated, the search begins with training everything.
  if (questions.fills_budget() && questions.maximize.empty() && !stated.contains("method"))
    flags.config.method = "full";
  PlanRequest request = make_request(flags, questions.card());
  settle_new_tokens(flags, request);
  const Answers answers = answer(questions, request, stated);
  if (!answers.fits) fail("{}", answers.text);
  const Plan planned = hone::plan(answers.config, request.target);
  enforce_budget(request, planned);
  nlohmann::json further = answers.json;
  const std::string rest = answers.text + further_answers(questions, request, answers.config, planned, further);
  if (flags.html) {
    check(!flags.html->empty(), "html: a file to write is needed");
    write_file(*flags.html, to_html(planned, answers.config, request.model, request.target, request.driver));
    std::fprintf(stderr, "written: %s\n", printable(*flags.html).c_str());
  }
  if (flags.json) {
    auto out = to_json(planned, answers.config, request.model, request.target, request.driver);
    out.update(further);
    if (flags.compare) out["comparison"] = compare_json(answers.config, planned, request.target);
    std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
  }
  std::printf("%s", plan_as_text(planned, answers.config, request).c_str());
  if (!rest.empty()) std::printf("\n%s", rest.c_str());
  if (request.target.kind == DeviceKind::cpu && flags.device == "auto")
    std::printf("\nplanned for the processor, where hone train runs; --gpu NAME plans for a card\n");
  if (flags.compare) std::printf("\n%s", compare_report(answers.config, planned, request.target).c_str());
  return 0;
}

void add_plan_flags(CLI::App& app, PlanFlags& flags) {
  PlanQuestions& q = flags.questions;
  app.add_option("--budget", flags.budget_to_fill,
                 "find settings that take no more than this (24GiB), slabs included; keys that are stated stay, and "
                 "without --method the search begins with full");
  app.add_option("--gpu", flags.gpu, "the same for a card by name (\"RTX 4090\"), without what its driver takes");
  app.add_option("--maximize", q.maximize, "max_length, batch_size or lora_r: its largest value in the budget");
  app.add_option("--fit", flags.fit, "how many of these cards the run needs, by --shard");
  app.add_option("--shard", q.shard, "none, optimizer, gradients or full: what cards hold a share of")
      ->capture_default_str();
  app.add_flag("--compare", flags.compare, "rules of thumb and published figures beside this plan");
  app.add_option("--tokens", q.tokens, "tokens to train on, for time and cost (else those of --data x num_epochs)");
  app.add_option("--tokens_per_second", q.tokens_per_second, "a rate you measured, for time and cost");
  app.add_option("--utilization", q.utilization, "share of the card's peak that training reaches")
      ->capture_default_str();
  app.add_option("--price_per_hour", q.price_per_hour, "of one machine or card");
  app.add_option("--long_prompt", q.long_prompt, "tokens of a prompt with examples in it, to compare a request's cost");
  app.add_option("--short_prompt", q.short_prompt, "tokens of the prompt once the model is fine-tuned")
      ->capture_default_str();
  app.add_option("--max_new_tokens", q.max_new_tokens, "tokens a generation ends with (256)");
  app.add_flag("--json", flags.json, "print one JSON object");
  app.add_option("--html", flags.html, "write a page that shows the memory of one step");
}

/// Standard output is a terminal, and the locale's encoding is UTF-8.
bool terminal_shows_utf8() {
  if (isatty(STDOUT_FILENO) != 1) return false;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') {
      const std::string locale = value;
      return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
    }
  return false;
}

}  // namespace

std::string plan_as_text(const Plan& plan, const PlanConfig& config, const PlanRequest& request) {
  return to_text(plan, config, request.target,
                 {.model_name = request.model, .utf8 = terminal_shows_utf8(), .driver = request.driver});
}

int print_plan(const TrainFlags& flags) {
  const PlanRequest request = make_request(flags, nullptr);
  const Plan planned = hone::plan(request.config, request.target);
  std::printf("%s", plan_as_text(planned, request.config, request).c_str());
  enforce_budget(request, planned);
  return 0;
}

Command add_plan(CLI::App& app) {
  auto* command = app.add_subcommand("plan", "what a run will occupy, compute and cost; what fits into a budget");
  command->alias("vram");
  auto flags = std::make_shared<PlanFlags>();
  add_train_flags(*command, *flags);
  add_plan_flags(*command, *flags);
  return {command, [flags, command] { return plan(*flags, *command); }};
}

}  // namespace hone::cli
