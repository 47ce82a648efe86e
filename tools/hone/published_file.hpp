// The file of published figures (tools/hone/facts/published_memory.json): sources by key, then groups of rows. What the
// rows of a group share stands once; a row may override it.
#pragma once

#include <hone/io/json.hpp>
#include <hone/plan/published.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone::cli {

namespace detail {

template <class Value, std::size_t N>
Value value_named(const std::array<std::string_view, N>& names, const std::string& name, std::string_view key,
                  std::string_view origin) {
  const auto found = std::ranges::find(names, name);
  check(found != names.end(), "[{}] \"{}\" is '{}', which has no meaning there", origin, key, name);
  return static_cast<Value>(found - names.begin());
}

inline std::vector<std::string> strings(const nlohmann::json& row, std::string_view key, std::string_view origin) {
  std::vector<std::string> out;
  for (const auto& entry : get_array(row, key, origin)) out.push_back(json_string(entry, key, origin));
  return out;
}

/// Takes the members of `run` that `row` gives.
inline void read_run(const nlohmann::json& row, PublishedRun& run, std::string_view origin) {
  const auto text = [&](std::string_view key, std::string& value) {
    value = find_string(row, key, origin).value_or(value);
  };
  const auto count = [&](std::string_view key, std::int64_t& value, std::int64_t min) {
    value = find_int(row, key, origin, min, 1 << 30).value_or(value);
  };
  const auto number = [&](std::string_view key, double& value) {
    value = find_double(row, key, origin, 0, 1e6).value_or(value);
  };
  text("model", run.model);
  text("method", run.method);
  text("dtype", run.dtype);
  text("quantisation", run.quantisation);
  count("lora_r", run.lora_r, 1);
  count("batch_size", run.batch_size, 1);
  count("max_length", run.max_length, 2);
  count("loss_chunk", run.loss_chunk, 0);
  count("in_features", run.in_features, 1);
  count("out_features", run.out_features, 1);
  text("optimizer", run.optimizer);
  number("bytes_per_parameter", run.bytes_per_parameter);
  if (find_key(row, "target_modules", origin) != nullptr) run.target_modules = strings(row, "target_modules", origin);
  if (find_key(row, "offload", origin) != nullptr) run.offload = offload_named(strings(row, "offload", origin));
  constexpr std::array<std::string_view, 3> recompute = {"none", "selective", "full"};
  if (const auto name = find_string(row, "gradient_checkpointing", origin))
    run.recompute = value_named<Recompute>(recompute, *name, "gradient_checkpointing", origin);
}

/// Keys a row may have; another would be a fact that nobody reads.
inline void check_keys(const nlohmann::json& row, std::string_view origin) {
  static constexpr auto known = std::to_array<std::string_view>({"model",        "method",
                                                                 "dtype",        "quantisation",
                                                                 "lora_r",       "target_modules",
                                                                 "batch_size",   "max_length",
                                                                 "loss_chunk",   "in_features",
                                                                 "out_features", "optimizer",
                                                                 "value",        "low",
                                                                 "high",         "bytes_per_parameter",
                                                                 "unit",         "gradient_checkpointing",
                                                                 "cards",        "gpu",
                                                                 "needs",        "verdict",
                                                                 "tolerance",    "because",
                                                                 "quantity",     "agrees_with",
                                                                 "what",         "offload"});
  for (const auto& [key, value] : row.items())
    check(std::ranges::find(known, key) != known.end(), "[{}] \"{}\" is not a key of a published figure", origin, key);
}

inline void read_value(const nlohmann::json& row, PublishedFigure& figure, std::string_view origin) {
  figure.low = find_double(row, "low", origin, 0);
  figure.high = find_double(row, "high", origin, 0);
  if (const auto value = find_double(row, "value", origin, 0)) figure.low = figure.high = value;
  figure.unit = find_string(row, "unit", origin).value_or("GB");
  figure.cards = find_int(row, "cards", origin, 1, 4096).value_or(0);
  figure.gpu = find_string(row, "gpu", origin).value_or("");
  check((figure.cards > 0) == !figure.gpu.empty(), "[{}] \"cards\" and \"gpu\" belong together", origin);
}

inline PublishedFigure read_figure(const nlohmann::json& row, std::string_view origin) {
  check_keys(row, origin);
  PublishedFigure out;
  out.what = get_string(row, "what", origin);
  read_run(row, out.run, origin);
  for (const std::string_view key : {"batch_size", "max_length", "gradient_checkpointing"})
    if (!find_key(row, key, origin)) out.assumed.emplace_back(key);
  out.quantity =
      value_named<Quantity>(quantity_names, find_string(row, "quantity", origin).value_or("peak"), "quantity", origin);
  read_value(row, out, origin);
  out.needs = find_string(row, "needs", origin).value_or("");
  out.verdict = value_named<Verdict>(verdict_names, get_string(row, "verdict", origin), "verdict", origin);
  out.tolerance = find_double(row, "tolerance", origin, 0, 1).value_or(out.tolerance);
  out.because = get_string(row, "because", origin);
  if (const auto* runs = find_key(row, "agrees_with", origin))
    for (const auto& changes : *runs) {
      out.agrees_with.push_back(out.run);
      check_keys(changes, origin);
      read_run(changes, out.agrees_with.back(), origin);
    }
  return out;
}

}  // namespace detail

/// The figures of a JSON text. `origin` names it in errors: a key unknown or missing, a value of the wrong kind.
inline std::vector<PublishedFigure> published_figures(std::string_view text, std::string_view origin) {
  const auto file = parse_json(text, origin);
  const auto& sources = get_object(file, "sources", origin);
  std::vector<PublishedFigure> out;
  for (const auto& group : get_array(file, "groups", origin)) {
    const auto& source = get_object(sources, get_string(group, "source", origin), origin);
    const auto* shared = find_key(group, "shared", origin);
    for (const auto& own : get_array(group, "figures", origin)) {
      auto row = shared != nullptr ? *shared : nlohmann::json::object();
      row.update(own);
      out.push_back(detail::read_figure(row, origin));
      out.back().source = get_string(source, "name", origin);
      out.back().address = find_string(source, "address", origin).value_or("");
    }
  }
  return out;
}

}  // namespace hone::cli
