#include "command_line.hpp"

#include <hone/core/checked.hpp>
#include <hone/core/error.hpp>
#include <hone/core/nearest.hpp>
#include <hone/io/text_file.hpp>

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

namespace hone::cli {
namespace {

/// Names that users of other trainers know, and what they are called here.
const std::map<std::string, std::string, std::less<>>& aliases() {
  static const std::map<std::string, std::string, std::less<>> names = {
      {"model_name_or_path", "model"},
      {"base_model", "model"},
      {"dataset", "data"},
      {"dataset_name", "data"},
      {"train_file", "data"},
      {"eval_file", "eval_data"},
      {"validation_file", "eval_data"},
      {"val_set_size", "val_size"},
      {"finetuning_type", "method"},
      {"lora_rank", "lora_r"},
      {"double_quant", "bnb_4bit_use_double_quant"},
      {"double_quantization", "bnb_4bit_use_double_quant"},
      {"r", "lora_r"},
      {"lora_target", "target_modules"},
      {"lora_target_modules", "target_modules"},
      {"per_device_train_batch_size", "batch_size"},
      {"micro_batch_size", "batch_size"},
      {"grad_accumulation_steps", "gradient_accumulation_steps"},
      {"num_train_epochs", "num_epochs"},
      {"lr", "learning_rate"},
      {"lr_scheduler_type", "lr_scheduler"},
      {"optim", "optimizer"},
      {"max_seq_length", "max_length"},
      {"cutoff_len", "max_length"},
      {"sequence_len", "max_length"},
      {"sample_packing", "packing"},
      {"grad_checkpoint", "gradient_checkpointing"},
      {"resume_from_checkpoint", "resume"},
      {"adapter_path", "adapter"},
      {"adapter_name_or_path", "adapter"},
      {"export_dir", "output_dir"},
  };
  return names;
}

/// "--Batch-size=4" -> {"batch_size", "=4"}; empty name when it is no flag.
std::pair<std::string, std::string> split_flag(const std::string& argument) {
  if (!argument.starts_with("--") || argument.size() == 2) return {};
  const std::size_t equals = std::min(argument.find('='), argument.size());
  std::string name = argument.substr(2, equals - 2);
  std::replace(name.begin(), name.end(), '-', '_');
  return {name, argument.substr(equals)};
}

std::string canonical(const std::string& name) {
  const auto found = aliases().find(name);
  if (found == aliases().end()) return name;
  std::fprintf(stderr, "note: --%s is called --%s here\n", name.c_str(), found->second.c_str());
  return found->second;
}

/// The text of a YAML value; lists become comma-separated.
std::string yaml_value(const YAML::Node& node, const std::string& origin) {
  if (node.IsScalar()) return node.Scalar();
  check(node.IsSequence(), "[{}] a key's value must be a scalar or a list of scalars", origin);
  std::string out;
  for (const auto& item : node) {
    check(item.IsScalar(), "[{}] a key's value must be a scalar or a list of scalars", origin);
    out += (out.empty() ? "" : ",") + item.Scalar();
  }
  return out;
}

std::vector<std::string> read_config(const std::string& path) {
  YAML::Node root;
  try {
    root = YAML::Load(read_text(path));
  } catch (const YAML::Exception& error) {
    fail("[{}:{}] is not valid YAML: {}", path, error.mark.line + 1, error.msg);
  }
  check(root.IsMap(), "[{}] must be a map of keys to values", path);
  std::vector<std::string> out;
  std::map<std::string, int> lines;
  for (const auto& entry : root) {
    const int line = entry.first.Mark().line + 1;
    const std::string origin = fmt::format("{}:{}", path, line);
    check(entry.first.IsScalar(), "[{}] a key must be a name", origin);
    const std::string name = canonical(split_flag("--" + entry.first.Scalar()).first);
    const auto [first, fresh] = lines.emplace(name, line);
    check(fresh, "[{}] '{}' stands in line {} already", origin, name, first->second);
    check(name != "config", "[{}] a configuration cannot name another", origin);
    if (entry.second.IsNull()) continue;
    out.push_back("--" + name + "=" + yaml_value(entry.second, origin));
  }
  return out;
}

/// The option of `app` whose name is nearest to `flag`, with its dashes.
std::string nearest_option(const CLI::App& app, const std::string& flag) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  return "--" + nearest_names(flag, names, 1).at(0);
}

int refuse_unknown(const CLI::App& app, const std::vector<std::string>& extras) {
  const auto [name, value] = split_flag(extras.front());
  const std::string command = app.get_name();
  if (name.empty())
    return report_error(
        fmt::format("'{}' was not expected by hone {}; see hone {} --help", extras.front(), command, command), 2);
  return report_error(fmt::format("hone {} knows no --{}; the nearest is {}", command, name, nearest_option(app, name)),
                      2);
}

}  // namespace

std::vector<std::string> prepare_arguments(int argc, char** argv) {
  std::vector<std::string> flags, configured;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    auto [name, value] = split_flag(argument);
    if (name.empty()) {
      flags.push_back(std::move(argument));
      continue;
    }
    name = canonical(name);
    if (name == "config") {
      const std::string path = !value.empty() ? value.substr(1) : (++i < argc ? argv[i] : "");
      check(!path.empty(), "--config needs a file");
      configured = read_config(path);
      continue;
    }
    flags.push_back("--" + name + value);
  }
  // The subcommand stays first; what the file says stands before every flag, so that the last one, the flag, wins.
  if (!configured.empty()) flags.insert(flags.begin() + (flags.empty() ? 0 : 1), configured.begin(), configured.end());
  return flags;
}

int run_commands(CLI::App& app, const std::vector<Command>& commands, std::vector<std::string> arguments) {
  app.require_subcommand(1);
  for (const Command& command : commands) {
    command.app->allow_extras();
    // Several are meant where an option takes all: generate --adapter.
    for (CLI::Option* option : command.app->get_options())
      if (option->get_multi_option_policy() != CLI::MultiOptionPolicy::TakeAll)
        option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    app.parse(arguments);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return report_error(error.what(), 2);
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    if (const auto extras = command.app->remaining(); !extras.empty()) return refuse_unknown(*command.app, extras);
    return command.run();
  }
  return 2;
}

int report_error(std::string_view message, int code) {
  std::fprintf(stderr, "error: %s\n", printable_message(message).c_str());
  return code;
}

std::vector<std::string> split_list(const std::string& text) {
  const auto opens = [](char c) { return c == '{' || c == '(' || c == '['; };
  const auto closes = [](char c) { return c == '}' || c == ')' || c == ']'; };
  // Brackets around the whole are a list's; others belong to an expression.
  std::string_view list = text;
  if (list.starts_with('[') && list.ends_with(']') && list.find('[', 1) == list.npos)
    list = list.substr(1, list.size() - 2);
  std::vector<std::string> out(1);
  int depth = 0;
  for (const char c : list) {
    depth += opens(c) ? 1 : closes(c) ? -1 : 0;
    if (c == ',' && depth == 0)
      out.emplace_back();
    else if (c != ' ')
      out.back() += c;
  }
  std::erase(out, "");
  return out;
}

std::pair<std::string, std::string> named_path(const std::string& text) {
  const auto equals = text.find('=');
  const bool named = equals != text.npos && equals > 0 && equals < text.find('/');
  return {named ? text.substr(0, equals) : text, named ? text.substr(equals + 1) : text};
}

std::int64_t parse_bytes(const std::string& key, const std::string& text) {
  constexpr std::array<std::pair<std::string_view, double>, 10> units = {{{"", 1.0},
                                                                          {"B", 1.0},
                                                                          {"KB", 1e3},
                                                                          {"MB", 1e6},
                                                                          {"GB", 1e9},
                                                                          {"TB", 1e12},
                                                                          {"KiB", 1024.0},
                                                                          {"MiB", 1048576.0},
                                                                          {"GiB", 1073741824.0},
                                                                          {"TiB", 1099511627776.0}}};
  std::size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = text.substr(used);
  for (const auto& [name, factor] : units)
    if (used > 0 && unit == name && number >= 0 && number * factor < 9e18)
      return static_cast<std::int64_t>(std::llround(number * factor));
  fail("{}: '{}' is not a size; write bytes, or a number with KB, MB, GB, KiB, MiB or GiB", key, text);
}

}  // namespace hone::cli
