// Training rows from JSONL: what a row says, before it becomes tokens.
#pragma once

#include <hone/io/json.hpp>
#include <hone/io/text_file.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

enum class RowFormat {
  automatic,          ///< told by the keys of the first row
  prompt_completion,  ///< "prompt", "completion"
  alpaca,             ///< "instruction", "input" (may be missing or empty), "output"
  text,               ///< "text": every token counts
};

/// The names of --format.
inline RowFormat row_format_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, RowFormat>, 4> names = {
      {{"auto", RowFormat::automatic},
       {"prompt_completion", RowFormat::prompt_completion},
       {"alpaca", RowFormat::alpaca},
       {"text", RowFormat::text}}};
  for (const auto& [known, format] : names)
    if (known == name) return format;
  fail("format: '{}' is not known; choose auto, prompt_completion, alpaca or text", name);
}

/// One row: the model reads `prompt` and learns `completion`. A text row has no prompt.
struct Row {
  std::string prompt, completion;
  std::vector<std::string> references;  ///< for evaluation: "references", else the completion without its outer spaces
  std::int64_t line = 0;                ///< in its file, from 1
};

namespace detail {

/// Alpaca's wording (Taori et al., 2023) around an instruction and its optional input.
inline std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  if (input.empty())
    return "Below is an instruction that describes a task. Write a response that appropriately completes the "
           "request.\n\n### Instruction:\n" +
           instruction + "\n\n### Response:\n";
  return "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
         "response that appropriately completes "
         "the request.\n\n### Instruction:\n" +
         instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n";
}

inline RowFormat detect_format(const nlohmann::json& row, const std::string& origin) {
  const auto has = [&](const char* key) { return find_key(row, key, origin) != nullptr; };
  if (has("prompt") && has("completion")) return RowFormat::prompt_completion;
  if (has("instruction") && has("output")) return RowFormat::alpaca;
  if (has("text")) return RowFormat::text;
  fail("[{}] a row needs \"prompt\" and \"completion\", \"instruction\" and \"output\", or \"text\"", origin);
}

inline std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == text.npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

inline Row parse_row(const nlohmann::json& json, RowFormat format, const std::string& origin) {
  Row row;
  if (format == RowFormat::prompt_completion) {
    row.prompt = get_string(json, "prompt", origin);
    row.completion = get_string(json, "completion", origin);
  } else if (format == RowFormat::alpaca) {
    row.prompt =
        alpaca_prompt(get_string(json, "instruction", origin), find_string(json, "input", origin).value_or(""));
    row.completion = get_string(json, "output", origin);
  } else {
    row.completion = get_string(json, "text", origin);
  }
  check(!row.completion.empty(), "[{}] the text to learn is empty", origin);
  if (find_key(json, "references", origin) != nullptr)
    for (const auto& reference : get_array(json, "references", origin))
      row.references.push_back(json_string(reference, "references", origin));
  if (row.references.empty()) row.references.push_back(trimmed(row.completion));
  return row;
}

}  // namespace detail

/// Reads a JSONL file; empty lines are passed over. An Error names file and line.
inline std::vector<Row> read_rows(const std::filesystem::path& path, RowFormat format = RowFormat::automatic) {
  std::vector<Row> rows;
  std::int64_t number = 0;
  const std::string text = read_text(path);
  for (const std::string_view line : split_lines(text)) {
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string origin = fmt::format("{}:{}", path.string(), number);
    const auto json = parse_json(line, origin);
    if (format == RowFormat::automatic) format = detail::detect_format(json, origin);
    rows.push_back(detail::parse_row(json, format, origin));
    rows.back().line = number;
  }
  check(!rows.empty(), "[{}] there is no row in this file", path.string());
  return rows;
}

}  // namespace hone
