// The subcommands; each stands in the file of its name.
#pragma once

#include "command_line.hpp"

namespace hone::cli {

Command add_plan(CLI::App& app);
Command add_train(CLI::App& app);
Command add_tune(CLI::App& app);
Command add_eval(CLI::App& app);
Command add_compare(CLI::App& app);
Command add_generate(CLI::App& app);
Command add_merge(CLI::App& app);
Command add_quantize(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_peft(CLI::App& app);
Command add_tokenize(CLI::App& app);
Command add_bench(CLI::App& app);

}  // namespace hone::cli
