// Validation losses of a run and of the stages before it: as a table for people, and as JSON.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// Loss per supervised token on the rows held out, or on those of an earlier stage: before training, at the best
/// validation, and at the last.
struct StageLoss {
  std::string name;
  std::optional<double> before = {}, best = {}, last = {};

  bool operator==(const StageLoss&) const = default;
};

/// The name of the run's own rows in these tables.
inline constexpr std::string_view this_run = "this run";

/// Lines of a table; a loss that rises is what was forgotten.
inline std::vector<std::string> stage_table(const std::vector<StageLoss>& stages) {
  std::size_t width = 15;
  for (const StageLoss& stage : stages) width = std::max(width, stage.name.size());
  const auto number = [](const std::optional<double>& loss) { return loss ? fmt::format("{:.4f}", *loss) : "-"; };
  std::vector<std::string> out = {
      fmt::format("{:{}}  {:>8}  {:>8}  {:>8}", "validation loss", width, "before", "best", "last")};
  for (const StageLoss& stage : stages)
    out.push_back(fmt::format("{:{}}  {:>8}  {:>8}  {:>8}", stage.name, width, number(stage.before), number(stage.best),
                              number(stage.last)));
  return out;
}

/// [{"name", "before", "best", "last"}, ...]; null where a loss is not known.
inline nlohmann::json stages_to_json(const std::vector<StageLoss>& stages) {
  const auto number = [](const std::optional<double>& loss) {
    return loss ? nlohmann::json(*loss) : nlohmann::json(nullptr);
  };
  auto out = nlohmann::json::array();
  for (const StageLoss& stage : stages)
    out.push_back({{"name", stage.name},
                   {"before", number(stage.before)},
                   {"best", number(stage.best)},
                   {"last", number(stage.last)}});
  return out;
}

/// What stages_to_json wrote under `key`; empty where there is no such key.
inline std::vector<StageLoss> read_stages(const nlohmann::json& json, const std::string& key,
                                          const std::string& origin) {
  std::vector<StageLoss> out;
  if (find_key(json, key, origin) == nullptr) return out;
  for (const auto& stage : get_array(json, key, origin))
    out.push_back({get_string(stage, "name", origin), find_double(stage, "before", origin),
                   find_double(stage, "best", origin), find_double(stage, "last", origin)});
  return out;
}

}  // namespace hone
