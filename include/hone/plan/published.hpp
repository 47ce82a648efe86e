// Memory and parameter counts that others have published, beside what hone plans for the same run. The rows are data
// (tools/hone/facts/published_memory.json); here is what a row says and how ours is found.
#pragma once

#include <hone/models/count_only_models.hpp>
#include <hone/models/known_models.hpp>
#include <hone/plan/gpus.hpp>
#include <hone/plan/rules.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// What a published number counts.
enum class Quantity : std::uint8_t {
  peak,
  weights,
  gradients,
  optimizer,
  activations,
  bytes_per_parameter,  ///< peak over weights of the base: the "18x" of tables that scale
  parameters,           ///< of the base
  trainable_parameters,
  trainable_share,      ///< of the base's parameters
  linear_share,         ///< LoRA on one matrix over that matrix
  quantisation_saving,  ///< share of 16 bits that the quantised type saves
};

inline constexpr std::array<std::string_view, 11> quantity_names = {"peak",
                                                                    "weights",
                                                                    "gradients",
                                                                    "optimizer",
                                                                    "activations",
                                                                    "bytes_per_parameter",
                                                                    "parameters",
                                                                    "trainable_parameters",
                                                                    "trainable_share",
                                                                    "linear_share",
                                                                    "quantisation_saving"};

constexpr std::string_view name_of(Quantity quantity) { return quantity_names[static_cast<std::size_t>(quantity)]; }

enum class Verdict : std::uint8_t {
  matches,          ///< ours is within the row's tolerance
  differs,          ///< ours is outside it
  not_planned_yet,  ///< the run needs something hone has not
};

inline constexpr std::array<std::string_view, 3> verdict_names = {"matches", "differs", "not planned yet"};

constexpr std::string_view name_of(Verdict verdict) { return verdict_names[static_cast<std::size_t>(verdict)]; }

/// A unit of the published number: how much of ours it is.
struct PublishedUnit {
  std::string_view name;
  double factor;
};

inline constexpr auto published_units = std::to_array<PublishedUnit>({
    {"GB", 1e9},
    {"GiB", 1024.0 * 1024 * 1024},
    {"MiB", 1024.0 * 1024},
    {"B a parameter", 1},
    {"parameters", 1},
    {"M parameters", 1e6},
    {"%", 0.01},
});

/// The run a number was published for. What its source leaves open is assumed to be small: one row of 1,024 tokens, of
/// which each layer keeps its input alone.
struct PublishedRun {
  std::string model;            ///< of known_models or count_only_models; empty: the number belongs to no model
  std::string method = "full";  ///< full, lora, qlora, or the source's word for what hone has not
  std::string dtype = "bf16";   ///< fp32, mixed, bf16
  std::string quantisation;     ///< nf4, nf4-dq, int8: of the base's block matrices; qlora without one is nf4-dq
  std::int64_t lora_r = 8;
  std::vector<std::string> target_modules = {"all-linear"};
  std::int64_t batch_size = 1, max_length = 1024;
  Recompute recompute = Recompute::full;
  Offload offload = {};
  std::int64_t loss_chunk = 0;
  std::string optimizer = "adamw";                 ///< adamw, adamw_bf16, adamw_8bit
  std::int64_t in_features = 0, out_features = 0;  ///< of the one matrix of linear_share
  // Not a setting of hone, but what another's figure rests on:
  double bytes_per_parameter = 0;  ///< unless 0: the number is this times the parameters
};

/// One published figure.
struct PublishedFigure {
  std::string source, address;       ///< who says it, and where
  std::string what;                  ///< the row's own words for it
  std::vector<std::string> assumed;  ///< keys of the run that the source leaves open
  PublishedRun run;
  Quantity quantity = Quantity::peak;
  std::string unit;
  std::optional<double> low, high;  ///< in `unit`; equal for a single number, no high for "400+", neither for "OOM"
  std::int64_t cards = 0;           ///< of `gpu`, in place of low and high: the source says it fits
  std::string gpu;
  std::string needs;  ///< what hone would have to have to plan the run; empty: it can
  Verdict verdict = Verdict::matches;
  double tolerance = 0.1;
  std::string because;                    ///< one sentence
  std::vector<PublishedRun> agrees_with;  ///< runs for which the figure does hold: what it must have counted
};

/// A figure beside ours, both in bytes, parameters or shares of 1.
struct FigureComparison {
  double low = 0, high = std::numeric_limits<double>::infinity();
  std::optional<double> ours;  ///< nothing where the run cannot be planned
  double ratio = 1;            ///< ours over the nearer end of the published range; 1 inside it
  bool verdict_holds = false;
  bool agreements_hold = true;  ///< every run of agrees_with comes within the tolerance
};

inline Policy policy_of(const PublishedRun& run) {
  for (const Policy& policy : {policy::fp32, policy::mixed, policy::bf16})
    if (policy.name == run.dtype) return policy;
  fail("[published] dtype '{}' is none of fp32, mixed, bf16", run.dtype);
}

/// How the run stores its base.
inline std::optional<Quantisation> quantisation_of(const PublishedRun& run) {
  if (run.quantisation.empty() && run.method != "qlora") return std::nullopt;
  check(run.quantisation.empty() || run.quantisation == "nf4" || run.quantisation == "nf4-dq" ||
            run.quantisation == "int8",
        "[published] quantisation '{}' is none of nf4, nf4-dq, int8", run.quantisation);
  return Quantisation{.type = run.quantisation == "int8" ? QuantType::int8 : QuantType::nf4,
                      .double_quant = run.quantisation != "nf4"};
}

/// The run as hone would be told of it. A length above the model's context is taken as the source ran it.
inline PlanConfig plan_config(const PublishedRun& run) {
  check(run.method == "full" || run.method == "lora" || run.method == "qlora",
        "[published] method '{}' cannot be planned: full, lora or qlora can", run.method);
  PlanConfig out{.model = known_model(run.model), .batch_size = run.batch_size, .max_length = run.max_length};
  out.model.quantization = quantisation_of(run);
  out.model.max_position_embeddings = std::max(out.model.max_position_embeddings, run.max_length);
  if (run.method == "full")
    out.step.method = FullTuning{};
  else
    out.step.method = LoraTuning{{.r = run.lora_r}, run.target_modules};
  out.step.policy = policy_of(run);
  out.step.recompute = run.recompute;
  out.step.offload = run.offload;
  out.step.loss_chunk = run.loss_chunk;
  const auto moments = moments_of_adamw(run.optimizer);
  check(moments.has_value(), "[published] optimizer '{}' is none of adamw, adamw_bf16, adamw_8bit", run.optimizer);
  out.step.optimizer = AdamWOptions{.moments = *moments};
  return out;
}

namespace detail {

inline bool is_count_only(const PublishedRun& run) {
  return std::ranges::find(count_only_models, run.model, &CountOnlyModel::name) != count_only_models.end();
}

inline double counted(const PublishedRun& run, Quantity quantity) {
  const CountOnlyModel& model = count_only_model(run.model);
  const auto base = static_cast<double>(model.parameters);
  if (quantity == Quantity::parameters) return base;
  const auto adapters = static_cast<double>(lora_parameters(model, run.lora_r, run.target_modules));
  check(quantity == Quantity::trainable_parameters || quantity == Quantity::trainable_share,
        "[published] {} is only counted, so its {} is not known", run.model, name_of(quantity));
  return quantity == Quantity::trainable_share ? adapters / base : adapters;
}

/// What a plan knows without packing and phases: the bytes of a training run, and its parameters.
template <class T>
Plan bytes_of_training(const PlanConfig& config, const Target& target) {
  Plan out;
  MetaRun<T> run(config, target);
  const BatchSizes sizes = batch_sizes(config);
  run.count_parameters(out);
  for (const Category category : all_categories) out.resident[index_of(category)] = run.ledger().of(category).now;
  for (const std::int64_t tokens : sizes.train) run.train(tokens);
  run.update();
  out.peak_bytes = run.ledger().device().peak;
  for (const Category category : all_categories) out.highest[index_of(category)] = run.ledger().of(category).peak;
  return out;
}

inline double planned(const PublishedRun& run, Quantity quantity, const Target& target) {
  const PlanConfig config = plan_config(run);
  validate(config);
  const Plan plan =
      with_compute_type(config.step.policy, [&]<class T>() { return bytes_of_training<T>(config, target); });
  const auto resident = [&](Category category) { return static_cast<double>(plan.resident[index_of(category)]); };
  switch (quantity) {
    case Quantity::peak:
      return static_cast<double>(plan.peak_bytes);
    case Quantity::weights:
      return resident(Category::weights);
    case Quantity::gradients:
      return resident(Category::gradients);
    case Quantity::optimizer:
      return resident(Category::optimizer);
    case Quantity::activations:
      return static_cast<double>(plan.highest[index_of(Category::activations)]);
    case Quantity::bytes_per_parameter:
      return static_cast<double>(plan.peak_bytes) / static_cast<double>(plan.parameters);
    case Quantity::parameters:
      return static_cast<double>(plan.parameters);
    case Quantity::trainable_parameters:
      return static_cast<double>(plan.trainable_parameters);
    case Quantity::trainable_share:
      return static_cast<double>(plan.trainable_parameters) / static_cast<double>(plan.parameters);
    default:
      fail("[published] {} is not a figure of a model", name_of(quantity));
  }
}

}  // namespace detail

/// What published figures are held against: an Ampere card, whose GEMM library has 32 MiB.
inline Target published_target() {
  return {.kind = DeviceKind::cuda, .alignment = 256, .sm = 80, .gemm_workspace = std::int64_t{32} << 20};
}

/// Our figure for `run`, in bytes, parameters or a share of 1.
inline double our_figure(const PublishedRun& run, Quantity quantity, const Target& target = published_target()) {
  const bool double_quantisation = run.quantisation == "nf4-dq";
  if (quantity == Quantity::quantisation_saving) return 1 - nf4_bits(double_quantisation) / 16;
  if (quantity == Quantity::linear_share)
    return static_cast<double>(run.lora_r * (run.in_features + run.out_features)) /
           static_cast<double>(run.in_features * run.out_features);
  if (detail::is_count_only(run)) return detail::counted(run, quantity);
  if (run.bytes_per_parameter > 0)
    return run.bytes_per_parameter * (quantity == Quantity::bytes_per_parameter
                                          ? 1
                                          : static_cast<double>(parameter_count(known_model(run.model))));
  return detail::planned(run, quantity, target);
}

/// How many bytes, parameters or parts of 1 the unit is.
inline double unit_factor(std::string_view unit) {
  const auto found = std::ranges::find(published_units, unit, &PublishedUnit::name);
  check(found != published_units.end(), "[published] unit '{}' is not known", unit);
  return found->factor;
}

/// Holds a figure against the plan of the same run on `target`.
inline FigureComparison compare(const PublishedFigure& figure, const Target& target = published_target()) {
  FigureComparison out;
  if (!figure.gpu.empty()) {
    out.high = static_cast<double>(figure.cards) * static_cast<double>(find_gpu(figure.gpu).memory_bytes());
  } else {
    const double factor = unit_factor(figure.unit);
    if (figure.low) out.low = *figure.low * factor;
    if (figure.high) out.high = *figure.high * factor;
  }
  const auto within = [&](double value) {
    return value >= out.low * (1 - figure.tolerance) && value <= out.high * (1 + figure.tolerance);
  };
  if (!figure.needs.empty()) {
    out.verdict_holds = figure.verdict == Verdict::not_planned_yet;
    return out;
  }
  out.ours = our_figure(figure.run, figure.quantity, target);
  out.ratio = *out.ours / std::clamp(*out.ours, out.low, out.high);
  out.verdict_holds = figure.verdict == (within(*out.ours) ? Verdict::matches : Verdict::differs);
  for (const PublishedRun& run : figure.agrees_with)
    out.agreements_hold = out.agreements_hold && within(our_figure(run, figure.quantity, target));
  return out;
}

}  // namespace hone
