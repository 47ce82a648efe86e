// The rows of a run: what trains and what is held out.
#pragma once

#include <hone/train/batches.hpp>
#include <hone/train/train_config.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// Held-out rows of an earlier stage.
struct StageRows {
  std::string name;
  std::vector<Example> rows;
  std::int64_t dropped = 0;  ///< rows too long for max_length
};

/// The rows of a run.
struct TrainingData {
  std::vector<Example> train, valid;
  std::int64_t dropped = 0, truncated = 0;  ///< rows too long for max_length
  std::int64_t valid_dropped = 0;           ///< the same of eval_data
  std::vector<StageRows> earlier = {};      ///< of also_evaluate
};

/// Loads the rows a configuration names. Without eval_data a seeded share of val_size is held out (none when it is 0).
inline TrainingData load_training_data(const TrainConfig& config, const Tokenizer& tokenizer) {
  const ExampleOptions options{config.max_length, truncation_named(config.truncation)};
  const RowFormat format = row_format_named(config.format);
  auto all = load_examples(config.data, tokenizer, options, format);
  TrainingData out{{}, {}, all.dropped, all.truncated, 0};
  for (const auto& [name, path] : config.also_evaluate) {
    auto rows = load_examples(path, tokenizer, options, format);
    out.earlier.push_back({name, std::move(rows.items), rows.dropped});
    check(!out.earlier.back().rows.empty(), "also_evaluate: [{}] no row is left to score", path);
  }
  if (!config.eval_data.empty()) {
    auto valid = load_examples(config.eval_data, tokenizer, options, format);
    out.valid = std::move(valid.items);
    out.valid_dropped = valid.dropped;
    out.train = std::move(all.items);
    return out;
  }
  const auto order = shuffled(all.items.size(), config.seed, ~std::uint64_t{0});
  auto held_out = static_cast<std::size_t>(std::llround(config.val_size * static_cast<double>(order.size())));
  if (config.val_size > 0 && held_out == 0 && order.size() > 1) held_out = 1;
  for (std::size_t i = 0; i < order.size(); ++i)
    (i < held_out ? out.valid : out.train).push_back(std::move(all.items[order[i]]));
  check(!out.train.empty(), "[{}] no row is left to train on after holding out {}", config.data, held_out);
  return out;
}

}  // namespace hone
