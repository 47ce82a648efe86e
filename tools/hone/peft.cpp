#include "commands.hpp"

#include <hone/core/human.hpp>
#include <hone/io/json.hpp>
#include <hone/models/known_models.hpp>
#include <hone/models/llama_config_file.hpp>
#include <hone/plan/method_table.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace hone::cli {
namespace {

struct PeftFlags {
  std::string model = "llama-3.1-8b";
  std::int64_t tokens = 1024;
  bool json = false;
};

LlamaConfig model_of(const std::string& model) {
  const std::filesystem::path path(model);
  std::error_code unreadable;
  if (std::filesystem::is_directory(path, unreadable)) return read_llama_config(path / "config.json");
  if (std::filesystem::exists(path, unreadable)) return read_llama_config(path);
  return known_model(model);
}

nlohmann::json to_json(const MethodRow& row) {
  auto parts = nlohmann::json::array();
  for (const MethodPart& part : row.parts)
    parts.push_back({{"function", part.kind.function},
                     {"insertion", name_of(part.insertion)},
                     {"modules", part.modules},
                     {"form", name_of(part.kind.form)},
                     {"composition", name_of(part.kind.composition)}});
  return {{"method", row.name},
          {"settings", row.settings},
          {"parts", parts},
          {"trainable_parameters", row.trainable},
          {"bytes", row.bytes},
          {"extra_flops_per_token", row.flops_per_token},
          {"extra_flops_share", row.flops_share}};
}

using Line = std::vector<std::string>;

/// One line for every part of a method; what belongs to the method stands on its first.
std::vector<Line> lines_of(const MethodRow& row) {
  std::vector<Line> out;
  for (const MethodPart& part : row.parts)
    out.push_back({"", std::string(part.kind.function), std::string(name_of(part.insertion)),
                   std::string(name_of(part.kind.form)), std::string(name_of(part.kind.composition)), "", "", ""});
  if (out.empty()) out.push_back({"", "dW x", "every weight", "parallel", "add", "", "", ""});
  Line& first = out.front();
  first[0] = row.name;
  first[5] = with_commas(row.trainable);
  first[6] = human_bytes(row.bytes);
  first[7] = fmt::format("{:+.3f} %", 100 * row.flops_share);
  return out;
}

void print(const std::vector<MethodRow>& rows) {
  std::vector<Line> lines = {{"method", "f", "insertion", "form", "composition", "trainable", "saved", "FLOPs"}};
  for (const MethodRow& row : rows)
    for (Line& line : lines_of(row)) lines.push_back(std::move(line));
  std::vector<std::size_t> widths(lines.front().size());
  for (const Line& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  for (const Line& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i)
      text += i < 5 ? fmt::format("{:<{}}  ", line[i], widths[i]) : fmt::format("{:>{}}  ", line[i], widths[i]);
    text.erase(text.find_last_not_of(' ') + 1);
    std::printf("%s\n", text.c_str());
  }
  std::printf("\n");
  for (const MethodRow& row : rows)
    if (!row.settings.empty()) std::printf("%-10s %s\n", row.name.c_str(), row.settings.c_str());
}

int list(const PeftFlags& flags) {
  check(flags.tokens >= 1 && flags.tokens <= 1 << 20, "tokens: {} must lie between 1 and 1048576", flags.tokens);
  const LlamaConfig config = model_of(flags.model);
  std::vector<MethodRow> rows;
  for (const Method& method : all_methods()) rows.push_back(method_row(method, config, flags.tokens));
  if (flags.json) {
    nlohmann::json out = {{"model", flags.model}, {"tokens", flags.tokens}, {"methods", nlohmann::json::array()}};
    for (const MethodRow& row : rows) out["methods"].push_back(to_json(row));
    std::printf("%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
  }
  std::printf("%s, FLOPs of reading a prompt of %s tokens beside the base's\n\n", flags.model.c_str(),
              with_commas(flags.tokens).c_str());
  print(rows);
  return 0;
}

}  // namespace

Command add_peft(CLI::App& app) {
  auto* command = app.add_subcommand("peft", "the methods of fine-tuning as one family");
  auto* table = command->add_subcommand("list", "f, insertion point, form, composition and cost of every method");
  command->require_subcommand(1);
  auto flags = std::make_shared<PeftFlags>();
  table->add_option("--model", flags->model, "a name, a Hugging Face folder or a config.json")->capture_default_str();
  table->add_option("--tokens", flags->tokens, "length of the prompt whose FLOPs are counted")->capture_default_str();
  table->add_flag("--json", flags->json, "print one JSON object");
  return {command, [flags] { return list(*flags); }};
}

}  // namespace hone::cli
