// What the contenders of a comparison are measured on: the rows of the user, general text, one request to time.
#pragma once

#include "compare.hpp"
#include "engine.hpp"

#include <hone/text/rows.hpp>

#include <string>
#include <vector>

namespace hone::cli {

/// Two files of rows: what trains and what is held out.
struct SplitRows {
  std::string train, valid;
};
/// The rows of a run as two files. Without eval_data a seeded share of val_size is set aside once, the same for every
/// contender and seed, in files under `folder`.
SplitRows split_rows(const TrainConfig& config, const std::string& folder);

/// Scores models on the same rows, the same text and the same request.
class Yardstick {
 public:
  Yardstick(const CompareFlags& flags, const SplitRows& files);

  /// What can be said of a loaded model: loss, scores of generated texts, loss on the general text, prompt tokens.
  /// `shots` rows of the training file stand before every prompt, as many as the model's context has room for.
  Measurements score(const Model& model, std::int64_t shots, std::uint64_t seed) const;

  /// Milliseconds of one request to each model, the prompt of the first held-out row and latency_tokens more: the
  /// median of five, taken in turn so that a machine that slows down slows all of them.
  std::vector<double> latencies(const std::vector<const Model*>& models, std::int64_t shots, std::uint64_t seed) const;

 private:
  class Prompts;

  const CompareFlags& flags_;
  std::vector<Row> train_, valid_;
  std::vector<std::string> general_;
};

}  // namespace hone::cli
