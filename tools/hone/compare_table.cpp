#include "compare.hpp"
#include "html.hpp"

#include <hone/core/error.hpp>
#include <hone/core/human.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace hone::cli {
namespace {

using Kind = Column::Kind;
using Group = Column::Group;

constexpr std::array columns{
    Column{Group::training, "trainable", "trainable", "parameters that were trained", Kind::count},
    Column{Group::training, "file_bytes", "file", "what was saved for it, beside the base", Kind::bytes},
    Column{Group::training, "planned_bytes", "planned", "device memory the plan said training takes", Kind::bytes},
    Column{Group::training, "actual_bytes", "actual", "device memory training took", Kind::bytes},
    Column{Group::training, "tokens_per_second", "tokens/s", "tokens of training steps per second", Kind::count},
    Column{Group::training, "seconds_to_best", "to best", "from the start of training to the best validation",
           Kind::seconds},
    Column{Group::result, "validation_loss", "loss",
           "negative log-likelihood of a completion's token on the validation rows"},
    Column{Group::result, "loss_gain", "gain", "how much lower that loss is than the base's"},
    Column{Group::result, "bleu", "BLEU-4", "of greedy completions against the references"},
    Column{Group::result, "bleu_gain", "gain", "BLEU-4 above the base's"},
    Column{Group::result, "slot_errors", "slot err", "attributes missed or invented per attribute asked for"},
    Column{Group::result, "forgetting", "forgets", "nats a token more than the base on the general text"},
    Column{Group::request, "prompt_tokens", "prompt", "tokens the model reads per request before it writes",
           Kind::count},
    Column{Group::request, "latency_ms", "request", "one request alone: the prompt and latency_tokens more",
           Kind::milliseconds},
    Column{Group::request, "merged_latency_ms", "merged", "the same once the adapter is folded into the base",
           Kind::milliseconds},
};

std::string formatted(double value, Kind kind) {
  switch (kind) {
    case Kind::count:
      return with_commas(std::llround(value));
    case Kind::bytes:
      return human_bytes(std::llround(value));
    case Kind::seconds:
      return fmt::format("{:.1f} s", value);
    case Kind::milliseconds:
      return fmt::format("{:.1f} ms", value);
    case Kind::number:
      break;
  }
  return fmt::format("{:.4f}", value);
}

/// The columns that some row has a value for.
std::vector<Column> filled_columns(const std::vector<Compared>& rows) {
  std::vector<Column> out;
  for (const Column& column : columns)
    if (std::any_of(rows.begin(), rows.end(),
                    [&](const Compared& row) { return spread_of(row, column.key).count > 0; }))
      out.push_back(column);
  return out;
}

/// The columns of one group in lines of equal width; empty where no row has a value for one of them.
std::string text_table(const std::vector<Compared>& rows, Group group) {
  auto shown = filled_columns(rows);
  std::erase_if(shown, [&](const Column& column) { return column.group != group; });
  if (shown.empty()) return {};
  std::vector<std::vector<std::string>> lines(1, {"method"});
  for (const Column& column : shown) lines.front().emplace_back(column.heading);
  for (const Compared& row : rows) {
    lines.push_back({row.contender.name});
    for (const Column& column : shown) lines.back().push_back(cell(row, column));
  }
  std::vector<std::size_t> widths(shown.size() + 1);
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string out;
  for (const auto& line : lines) {
    out += fmt::format("{:<{}}", line.front(), widths.front());
    for (std::size_t i = 1; i < line.size(); ++i) out += fmt::format("  {:>{}}", line[i], widths[i]);
    out += "\n";
  }
  return out;
}

std::string table_head(const std::vector<Column>& shown) {
  std::string out = "<tr><th>method</th>";
  for (const Column& column : shown)
    out += fmt::format("<th class=\"number\" title=\"{}\">{}</th>", escaped(column.meaning), escaped(column.heading));
  return out + "</tr>\n";
}

/// Bars of one column: the least and the greatest stay comparable because every bar begins at 0.
std::string bars(const std::vector<Compared>& rows, const Column& column) {
  double highest = 0;
  for (const Compared& row : rows) highest = std::max(highest, spread_of(row, column.key).mean);
  if (highest <= 0) return {};
  std::string out =
      fmt::format("<h2>{}</h2>\n<p class=\"note\">{}</p>\n<table>\n", escaped(column.heading), escaped(column.meaning));
  for (const Compared& row : rows) {
    const Spread spread = spread_of(row, column.key);
    if (spread.count == 0) continue;
    out += fmt::format(
        "<tr><th>{}</th><td><svg class=\"share\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\"><rect "
        "width=\"{:.2f}\" "
        "height=\"10\" fill=\"#0072b2\"/></svg></td><td class=\"number\">{}</td></tr>\n",
        escaped(row.contender.name), 100 * std::max(0.0, spread.mean) / highest, escaped(cell(row, column)));
  }
  return out + "</table>\n";
}

}  // namespace

std::span<const Column> compare_columns() { return columns; }

Spread spread_of(const Compared& row, std::string_view column) {
  std::vector<double> values;
  for (const Measurements& seed : row.seeds)
    if (const auto found = seed.find(std::string(column)); found != seed.end()) values.push_back(found->second);
  Spread out{values.size()};
  if (values.empty()) return out;
  for (const double value : values) out.mean += value / static_cast<double>(values.size());
  if (values.size() < 2) return out;
  double squares = 0;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  out.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return out;
}

std::string cell(const Compared& row, const Column& column) {
  const Spread spread = spread_of(row, column.key);
  if (spread.count == 0) return "-";
  const std::string mean = formatted(spread.mean, column.kind);
  return spread.deviation == 0 ? mean : mean + " +- " + formatted(spread.deviation, column.kind);
}

std::string comparison_text(const std::vector<Compared>& rows) {
  std::string out;
  for (const Group group : {Group::training, Group::result, Group::request}) {
    const std::string table = text_table(rows, group);
    if (!table.empty()) out += (out.empty() ? "" : "\n") + table;
  }
  for (const Compared& row : rows)
    if (!row.error.empty()) out += fmt::format("\n{}: {}\n", row.contender.name, row.error);
  return out;
}

std::string comparison_json(const std::vector<Compared>& rows) {
  nlohmann::json out = {{"columns", nlohmann::json::array()}, {"methods", nlohmann::json::array()}};
  for (const Column& column : columns) out["columns"].push_back({{"key", column.key}, {"meaning", column.meaning}});
  for (const Compared& row : rows) {
    nlohmann::json one = {{"name", row.contender.name}, {"seeds", row.seeds}};
    for (const Column& column : columns) {
      const Spread spread = spread_of(row, column.key);
      if (spread.count == 0) continue;
      one["mean"][column.key] = spread.mean;
      one["standard_deviation"][column.key] = spread.deviation;
    }
    if (!row.error.empty()) one["error"] = row.error;
    out["methods"].push_back(std::move(one));
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string comparison_page(const std::vector<Compared>& rows, const CompareFlags& flags) {
  const auto shown = filled_columns(rows);
  std::string out = fmt::format(
      "{}<title>hone compare: {}</title>\n<style>\n{}body {{ max-width: 90rem; }}</style>\n</head>\n<body>\n",
      page_opening, escaped(flags.train.config.model), page_style);
  out += fmt::format("<h1>{}</h1>\n<p class=\"lead\">{} ways to adapt it to {}, {}.</p>\n",
                     escaped(flags.train.config.model), rows.size(), escaped(flags.train.config.data),
                     flags.seeds == 1 ? "one seed" : fmt::format("{} seeds: mean and standard deviation", flags.seeds));
  out += "<table>\n" + table_head(shown);
  for (const Compared& row : rows) {
    out += fmt::format("<tr><th>{}</th>", escaped(row.contender.name));
    for (const Column& column : shown) out += fmt::format("<td class=\"number\">{}</td>", escaped(cell(row, column)));
    out += "</tr>\n";
  }
  out += "</table>\n";
  for (const Compared& row : rows)
    if (!row.error.empty())
      out += fmt::format("<p class=\"note\">{}: {}</p>\n", escaped(row.contender.name), escaped(row.error));
  out += "<div class=\"columns\">\n";
  for (const Column& column : shown) out += "<section>" + bars(rows, column) + "</section>\n";
  return out + "</div>\n</body>\n</html>\n";
}

}  // namespace hone::cli
