// The command line's own rules: kebab-case is snake_case, other trainers' names are understood, a YAML file fills in
// what no flag says, and an unknown key is answered with the nearest one.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::cli {

/// A subcommand registers its options on `app` and leaves what to do in `run`; run's value is the exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

/// Rewrites argv: "--batch-size" becomes "--batch_size", aliases of other trainers their canonical name (with a line
/// that says so), and the keys of --config FILE are put in front, so that flags override them.
std::vector<std::string> prepare_arguments(int argc, char** argv);

/// Parses and runs. Errors become one sentence on standard error: exit code 1 for a run that failed, 2 for a command
/// line that makes no sense.
int run_commands(CLI::App& app, const std::vector<Command>& commands, std::vector<std::string> arguments);

/// Prints "error: ..." on standard error, with nothing in it that a terminal obeys, and returns `code`.
int report_error(std::string_view message, int code);

/// Splits at commas that stand outside braces: "*.{q,v}_proj,o_proj" is two entries.
std::vector<std::string> split_list(const std::string& text);

/// The name and the path of "name=path"; a path alone is its own name.
std::pair<std::string, std::string> named_path(const std::string& text);

/// "24GiB", "512MB" or a plain number of bytes.
std::int64_t parse_bytes(const std::string& key, const std::string& text);

}  // namespace hone::cli
