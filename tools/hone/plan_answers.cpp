#include "plan_answers.hpp"

#include <hone/plan/cost.hpp>
#include <hone/plan/shard.hpp>
#include <hone/train/run_layout.hpp>

#include <algorithm>
#include <cmath>

namespace hone::cli {
namespace {

/// Bytes a run may take: the budget, or the card's memory without what its driver takes.
std::int64_t budget_of(const PlanQuestions& questions, const PlanRequest& request) {
  return questions.budget ? *questions.budget : questions.gpu->memory_bytes() - request.driver->bytes;
}

nlohmann::json sized_json(const std::optional<Sized>& sized) {
  if (!sized) return nullptr;
  return {{"value", sized->value}, {"peak_bytes", sized->bytes}};
}

/// "batch_size: 5 fits (22.10 GiB), 6 does not (25.30 GiB)".
std::string bracket_line(std::string_view key, const Bracket& bracket) {
  std::string out = fmt::format("  {}: ", key);
  if (bracket.fits) out += fmt::format("{} fits ({})", bracket.fits->value, human_bytes(bracket.fits->bytes));
  if (bracket.fits && bracket.too_much) out += ", ";
  if (bracket.too_much)
    out += fmt::format("{} does not ({})", bracket.too_much->value, human_bytes(bracket.too_much->bytes));
  else if (bracket.fits)
    out += ", the most this model can have";
  return out + "\n";
}

void add_bracket(Answers& out, std::string_view key, const Bracket& bracket) {
  out.text += bracket_line(key, bracket);
  out.json["nearest"][std::string(key)] = {{"fits", sized_json(bracket.fits)},
                                           {"too_much", sized_json(bracket.too_much)}};
}

/// What a variant takes from the device: its slabs, which may be a little larger than what lives in them. Of one that
/// cannot fit the live bytes say enough.
std::int64_t taken_by(const PlanRequest& request, const PlanConfig& config, std::int64_t budget) {
  const std::int64_t live = peak_of_variant(request, config);
  return live > budget ? live : std::max(live, plan_of_variant(request, config).reserved_bytes());
}

void maximize(const PlanQuestions& questions, std::int64_t budget, PeakOf peak_of, Answers& out) {
  const Growable& setting = growable(questions.maximize);
  out.config.batches.reset();
  const Bracket bracket = largest_fitting(out.config, budget, setting, peak_of);
  out.fits = bracket.fits.has_value();
  out.text = fmt::format("maximize {} within {}:\n", setting.key, human_bytes(budget));
  add_bracket(out, setting.key, bracket);
  if (out.fits)
    setting.set(out.config, bracket.fits->value);
  else
    out.text = fmt::format("{}: not even {} fits into {}; it needs {}", setting.key, bracket.too_much->value,
                           human_bytes(budget), human_bytes(bracket.too_much->bytes));
}

bool changes_result(std::string_view key) {
  return std::ranges::any_of(memory_settings, [&](const Setting& one) { return one.key == key && one.changes_result; });
}

void fill(const PlanConfig& wanted, std::int64_t budget, const SearchLimits& limits, PeakOf peak_of, Answers& out) {
  const Fit fit = fit_into(wanted, budget, limits, peak_of);
  out.fits = fit.fits;
  out.config = fit.config;
  if (!fit.fits) {
    out.text = fmt::format("budget: nothing fits into {} ({} B); the leanest run these keys allow needs {} ({} B)",
                           human_bytes(budget), budget, human_bytes(fit.bytes), fit.bytes);
    return;
  }
  out.text = fmt::format("within {} ({} B):\n", human_bytes(budget), budget);
  if (fit.trades.empty()) out.text += "  everything fits as wanted\n";
  out.json["trades"] = nlohmann::json::array();
  for (const Trade& trade : fit.trades) {
    out.text += fmt::format("  {} {} instead of {}, which needs {}{}\n", trade.key, trade.to, trade.from,
                            changes_result(trade.key) ? "at least " : "", human_bytes(trade.bytes));
    out.json["trades"].push_back(
        {{"key", trade.key}, {"from", trade.from}, {"to", trade.to}, {"peak_bytes_otherwise", trade.bytes}});
  }
  if (fit.config.gradient_accumulation_steps != wanted.gradient_accumulation_steps)
    out.text += fmt::format("  gradient_accumulation_steps {}: a step still sees as many rows\n",
                            fit.config.gradient_accumulation_steps);
  for (const char* key : {"batch_size", "max_length"})
    add_bracket(out, key, largest_fitting(fit.config, budget, growable(key), peak_of));
}

std::string cards(const PlanQuestions& questions, const PlanRequest& request, const PlanConfig& config,
                  const Plan& plan, nlohmann::json& json) {
  const Gpu& card = *questions.fit;
  const Shard shard = shard_named(questions.shard);
  const std::int64_t room = card.memory_bytes() - request.driver->bytes;
  const auto ranks = ranks_to_fit(plan, config, shard, room);
  json["fit"] = {{"card", card.name}, {"shard", name_of(shard)}, {"computed", true}};
  json["fit"]["cards"] = ranks ? nlohmann::json(*ranks) : nlohmann::json(nullptr);
  if (!ranks)
    return fmt::format("cards: no number of {} is enough with --shard {}: {} a rank stay, {} are free\n", card.name,
                       name_of(shard), human_bytes(bytes_per_rank(plan, config, shard, 65536)), human_bytes(room));
  const std::int64_t bytes = bytes_per_rank(plan, config, shard, *ranks);
  json["fit"]["bytes_per_rank"] = bytes;
  return fmt::format(
      "cards: {} x {} with --shard {}, {} ({} B) a rank of {} free\n"
      "  (computed from the plan of one rank; sharded training does not exist yet)\n",
      *ranks, card.name, name_of(shard), human_bytes(bytes), bytes, human_bytes(room));
}

std::string money(double hours, const std::optional<double>& price) {
  return price ? fmt::format(", {:.2f} at {:.2f} an hour", hours * *price, *price) : std::string();
}

/// Tokens and steps of the run whose rows are known, padding included.
struct RunLength {
  double tokens = 0, steps = 0;
};
RunLength length_of(const PlanRequest& request, const PlanConfig& config) {
  TrainConfig run = request.run;
  run.batch_size = config.batch_size;
  run.gradient_accumulation_steps = config.gradient_accumulation_steps;
  const RunLayout layout(run, *request.rows);
  RunLength out{.steps = static_cast<double>(layout.total_steps)};
  for (const auto& epoch : layout.epochs)
    for (const auto& members : epoch) out.tokens += static_cast<double>(layout.train.tokens(members));
  return out;
}

std::string time_and_cost(const PlanQuestions& questions, const PlanRequest& request, const PlanConfig& config,
                          const Plan& plan, nlohmann::json& json) {
  const Gpu* card = questions.card();
  const Rate rate = card != nullptr ? rate_of(*card, questions.utilization) : Rate{};
  const bool of_rows = !questions.tokens;
  const RunLength length = of_rows ? length_of(request, config) : RunLength{*questions.tokens, 0};
  TrainingCost cost = training_cost(plan, config, length.tokens, questions.tokens_per_second.value_or(0), rate);
  if (of_rows) cost.steps = length.steps;
  json["training_cost"] = {{"tokens", cost.tokens}, {"steps", std::ceil(cost.steps)}, {"flops", cost.flops}};
  std::string out = fmt::format("training on {:.4g} tokens: {:.4g} steps, {}", cost.tokens, std::ceil(cost.steps),
                                human_flops(cost.flops));
  if (cost.hours > 0) {
    const std::string at = questions.tokens_per_second
                               ? fmt::format("{:.0f} tokens/s as measured", *questions.tokens_per_second)
                               : fmt::format("{:.0f} % of {}'s {:.0f} TFLOP/s, an assumption",
                                             100 * questions.utilization, card->name, card->tflops) +
                                     (plan.step.copies > 0 ? ", without the copies of --offload" : "");
    out += fmt::format(", {:.4g} hours at {}{}", cost.hours, at, money(cost.hours, questions.price_per_hour));
    json["training_cost"]["hours"] = cost.hours;
    if (questions.price_per_hour) json["training_cost"]["price"] = cost.hours * *questions.price_per_hour;
  }
  return out + "\n";
}

std::string pretraining(const PlanQuestions& questions, const Plan& plan, nlohmann::json& json) {
  const ComputeOptimal optimal = compute_optimal(plan.parameters);
  json["compute_optimal"] = {{"tokens", optimal.tokens}, {"flops", optimal.flops}};
  std::string out = fmt::format("pretraining from scratch, compute-optimal: {:.4g} tokens (20 a parameter), {}",
                                optimal.tokens, human_flops(optimal.flops));
  if (const Gpu* card = questions.card()) {
    const double hours = optimal.flops / rate_of(*card, questions.utilization).flops / 3600;
    out += fmt::format(", {:.4g} hours of one {}{}", hours, card->name, money(hours, questions.price_per_hour));
  }
  return out + "\n";
}

void check_prompt(std::string_view flag, std::int64_t tokens, std::int64_t context) {
  check(tokens >= 1 && tokens < context, "{}: {} must lie between 1 and {}, below the model's context", flag, tokens,
        context - 1);
}

/// FLOPs of a request: its prompt, then all new tokens but the first.
double request_flops(const GenerationWork& work) {
  return work.prompt.flops + work.token.flops * static_cast<double>(std::max<std::int64_t>(work.new_tokens - 1, 0));
}

std::string requests(const PlanQuestions& questions, const PlanRequest& request, const PlanConfig& config,
                     nlohmann::json& json) {
  const std::int64_t context = config.model.max_position_embeddings, few = questions.short_prompt;
  check_prompt("short_prompt", few, context);
  if (questions.long_prompt) check_prompt("long_prompt", *questions.long_prompt, context);
  // As many new tokens as the context leaves behind the longer prompt.
  const std::int64_t fresh =
      std::min(config.max_new_tokens, context - std::max(few, questions.long_prompt.value_or(0)));
  const auto work_of = [&](std::int64_t prompt) { return generation_work(config, request.target, prompt, fresh); };
  const GenerationWork brief = work_of(few);
  const std::int64_t moved = brief.token.bytes_read + brief.token.bytes_written;
  json["inference"] = {{"flops_per_token", brief.token.flops}, {"bytes_per_token", moved}};
  std::string out =
      fmt::format("inference, a new token: {} and {} moved; its cache {} at {} tokens\n",
                  human_flops(brief.token.flops), human_bytes(moved), human_bytes(brief.cache_bytes), few + fresh);
  if (!questions.long_prompt) return out;
  const GenerationWork wordy = work_of(*questions.long_prompt);
  const double ratio = request_flops(wordy) / request_flops(brief);
  out += fmt::format("a request with {} prompt tokens computes {:.2f} x what one with {} does ({} new tokens each)",
                     *questions.long_prompt, ratio, few, fresh);
  json["inference"]["long_over_short_flops"] = ratio;
  if (const Gpu* card = questions.card()) {
    const Rate rate = rate_of(*card, questions.utilization);
    const double slow = request_seconds(wordy, rate), fast = request_seconds(brief, rate);
    out += fmt::format("; {:.3g} s against {:.3g} s, one at a time, on {}", slow, fast, card->name);
    if (questions.price_per_hour)
      out += fmt::format(": {:.3g} against {:.3g} for a thousand", slow / 3.6 * *questions.price_per_hour,
                         fast / 3.6 * *questions.price_per_hour);
  }
  return out + "\n";
}

void check_positive(std::string_view flag, const std::optional<double>& value) {
  check(!value || (std::isfinite(*value) && *value > 0), "{}: {} must be a number above 0", flag, value.value_or(0));
}

}  // namespace

void validate(const PlanQuestions& questions) {
  check_positive("tokens", questions.tokens);
  check_positive("tokens_per_second", questions.tokens_per_second);
  check_positive("price_per_hour", questions.price_per_hour);
  check(questions.utilization > 0 && questions.utilization <= 1, "utilization: {} must lie above 0 and up to 1",
        questions.utilization);
  check(!questions.budget || *questions.budget > 0, "budget: must be more than 0 bytes");
  shard_named(questions.shard);
  check(questions.maximize.empty() || questions.fills_budget(), "maximize: needs --budget or --gpu");
  check(!questions.budget || questions.gpu == nullptr, "budget and gpu both say what is to be filled; give one");
  check(questions.gpu == nullptr || questions.fit == nullptr || questions.gpu == questions.fit,
        "gpu and fit name different cards");
  check(!questions.price_per_hour || questions.tokens_per_second || questions.card() != nullptr,
        "price_per_hour: needs --tokens_per_second, --gpu or --fit to know the hours");
}

Answers answer(const PlanQuestions& questions, const PlanRequest& request, const FixedKeys& stated) {
  Answers out{.config = request.config};
  if (!questions.fills_budget()) return out;
  const std::int64_t budget = budget_of(questions, request);
  const auto taken = [&](const PlanConfig& config) { return taken_by(request, config, budget); };
  if (!questions.maximize.empty())
    maximize(questions, budget, taken, out);
  else
    fill(request.config, budget, {stated, request.lora, is_card(request.target)}, taken, out);
  out.config = with_rows_of(request, out.config);
  out.json["budget"] = budget;
  return out;
}

std::string further_answers(const PlanQuestions& questions, const PlanRequest& request, const PlanConfig& config,
                            const Plan& plan, nlohmann::json& json) {
  std::string out;
  if (questions.fit != nullptr) out += cards(questions, request, config, plan, json);
  const bool timed = questions.tokens || questions.tokens_per_second || questions.price_per_hour;
  check(!timed || questions.tokens || request.rows, "tokens: time and cost need --tokens, or --data to count them in");
  if (timed || (request.rows && questions.card() != nullptr))
    out += time_and_cost(questions, request, config, plan, json);
  if (timed) out += pretraining(questions, plan, json);
  if (timed || questions.long_prompt) out += requests(questions, request, config, json);
  return out;
}

}  // namespace hone::cli
