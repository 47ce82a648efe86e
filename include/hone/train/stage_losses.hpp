// What a run did to the stages before it: a table for people, and the same as JSON.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/train/train_summary.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace hone {

/// The run's own validation, then every earlier stage.
inline std::vector<StageLoss> stage_losses(const TrainSummary& summary) {
  std::vector<StageLoss> out = {{"this run", summary.first_eval_loss, summary.best_eval_loss, summary.eval_loss}};
  out.insert(out.end(), summary.earlier.begin(), summary.earlier.end());
  return out;
}

/// Lines of a table: loss before, at the best validation, at the end; a rise is what was forgotten.
inline std::vector<std::string> stage_table(const TrainSummary& summary) {
  const auto rows = stage_losses(summary);
  std::size_t width = 0;
  for (const StageLoss& row : rows) width = std::max(width, row.name.size());
  const auto number = [](const std::optional<double>& loss) { return loss ? fmt::format("{:.4f}", *loss) : "-"; };
  std::vector<std::string> out = {fmt::format("{:{}}  {:>8}  {:>8}  {:>8}", "validation loss",
                                              std::max<std::size_t>(width, 15), "before", "best", "last")};
  for (const StageLoss& row : rows)
    out.push_back(fmt::format("{:{}}  {:>8}  {:>8}  {:>8}", row.name, std::max<std::size_t>(width, 15),
                              number(row.before), number(row.best), number(row.last)));
  return out;
}

/// [{"name", "before", "best", "last"}, ...]; null where a loss is not known.
inline nlohmann::json stage_json(const TrainSummary& summary) {
  const auto number = [](const std::optional<double>& loss) {
    return loss ? nlohmann::json(*loss) : nlohmann::json(nullptr);
  };
  auto out = nlohmann::json::array();
  for (const StageLoss& row : stage_losses(summary))
    out.push_back(
        {{"name", row.name}, {"before", number(row.before)}, {"best", number(row.best)}, {"last", number(row.last)}});
  return out;
}

}  // namespace hone
