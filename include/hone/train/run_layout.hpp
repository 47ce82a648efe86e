// The layout of a run: the batches of every epoch it will reach, their sizes and the steps they make. Known before
// anything is loaded, so that `hone plan` and the trainer lay out one and the same run.
#pragma once

#include <hone/plan/plan_config.hpp>
#include <hone/train/batches.hpp>
#include <hone/train/configured_step.hpp>
#include <hone/train/training_data.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// The rows of an earlier stage, in batches.
struct StageLayout {
  std::string name;
  BatchPlan plan;
  std::vector<std::vector<std::size_t>> batches;
};

struct RunLayout {
  /// `data` outlives the layout.
  RunLayout(const TrainConfig& config, const TrainingData& data)
      : train(data.train, {config.batch_size, config.max_length, config.packing, true, config.seed}),
        valid(data.valid, {config.batch_size, config.max_length, false, false, config.seed}) {
    lay_out_epochs(config);
    std::size_t most_rows = 0;
    for (const auto& one : epochs)
      for (const auto& members : one) {
        sizes.train.insert(train.tokens(members));
        most_rows = std::max(most_rows, members.size());
      }
    // One number for the whole run: packed batches have as many rows as fit, validation's batch_size.
    if (config.packing) train.set_most_documents(std::max(static_cast<std::int64_t>(most_rows), config.batch_size) + 1);
    valid.set_most_documents(train.most_documents());
    if (!data.valid.empty()) valid_epoch = valid.epoch(0);
    for (const auto& members : valid_epoch) sizes.evaluate.insert(valid.tokens(members));
    for (const StageRows& stage : data.earlier) {
      BatchPlan plan(stage.rows, {config.batch_size, config.max_length, false, false, config.seed});
      plan.set_most_documents(train.most_documents());
      auto batches = plan.epoch(0);
      for (const auto& members : batches) sizes.evaluate.insert(plan.tokens(members));
      earlier.push_back({stage.name, std::move(plan), std::move(batches)});
    }
  }

  BatchPlan train, valid;
  std::vector<std::vector<std::vector<std::size_t>>> epochs;  ///< rows of each batch of each epoch
  std::vector<std::vector<std::size_t>> valid_epoch;
  std::vector<StageLayout> earlier;  ///< of also_evaluate
  BatchSizes sizes;
  std::int64_t total_steps = 0;

 private:
  void lay_out_epochs(const TrainConfig& config) {
    const auto limit = config.max_steps.value_or(std::numeric_limits<std::int64_t>::max());
    const double wanted = config.max_steps ? 1e18 : config.num_epochs;
    for (std::int64_t epoch = 0; static_cast<double>(epoch) < wanted && total_steps < limit; ++epoch) {
      auto members = train.epoch(epoch);
      const double share = std::min(1.0, wanted - static_cast<double>(epoch));  // num_epochs may be 0.5
      members.resize(static_cast<std::size_t>(std::ceil(share * static_cast<double>(members.size()))));
      const std::int64_t steps =
          ceil_div(static_cast<std::int64_t>(members.size()), config.gradient_accumulation_steps);
      if (total_steps + steps > limit)
        members.resize(static_cast<std::size_t>((limit - total_steps) * config.gradient_accumulation_steps));
      total_steps += std::min(steps, limit - total_steps);
      epochs.push_back(std::move(members));
    }
  }
};

/// Keys whose defaults depend on the model are filled in, and held to it.
inline TrainConfig with_defaults(TrainConfig config, const LlamaConfig& model) {
  if (config.max_length == 0) config.max_length = std::min<std::int64_t>(1024, model.max_position_embeddings);
  check(config.max_length <= model.max_position_embeddings,
        "max_length: {} is above the model's context of {} tokens (max_position_embeddings)", config.max_length,
        model.max_position_embeddings);
  return config;
}

/// The model as a run holds it: its linears quantised where the keys ask for that. A folder that is quantised already
/// stays what it is.
inline LlamaConfig with_quantisation(LlamaConfig model, const TrainConfig& config) {
  const bool wanted = config.load_in_4bit || config.load_in_8bit;
  const QuantType type = config.load_in_8bit ? QuantType::int8 : QuantType::nf4;
  check(!wanted || !model.quantization || model.quantization->type == type, "{}: the model is stored as {} already",
        config.load_in_8bit ? "load_in_8bit" : "load_in_4bit",
        model.quantization ? name_of(model.quantization->type) : "");
  if (wanted && !model.quantization)
    model.quantization = Quantisation{type, config.bnb_4bit_use_double_quant, config.llm_int8_skip_modules};
  check(!model.quantization || !config.full(),
        "method: full trains every weight, but {} weights have no gradient; choose lora",
        model.quantization ? name_of(model.quantization->type) : "");
  return model;
}

/// What the planner is told of a run whose rows are not known: every row has max_length tokens.
inline PlanConfig plan_config(const TrainConfig& config, const LlamaConfig& model, const Policy& policy) {
  PlanConfig out;
  out.model = model;
  out.step = step_config(config, policy);
  out.batch_size = config.batch_size;
  out.max_length = config.max_length;
  out.gradient_accumulation_steps = config.gradient_accumulation_steps;
  out.graphs = config.cuda_graphs != "false";
  return out;
}

/// A plan of the run `config`, with the batches its rows make. Of another max_length nothing is known: each row then
/// counts as that long.
inline PlanConfig with_rows(PlanConfig plan, TrainConfig config, const TrainingData& data) {
  if (plan.max_length != config.max_length) return plan;
  config.batch_size = plan.batch_size;
  config.gradient_accumulation_steps = plan.gradient_accumulation_steps;
  const RunLayout layout(config, data);
  plan.batches = layout.sizes;
  plan.most_documents = layout.train.most_documents();
  return plan;
}

}  // namespace hone
