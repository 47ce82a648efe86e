#include "commands.hpp"
#include "engine.hpp"
#include "plan.hpp"
#include "stop_signal.hpp"
#include "train_flags.hpp"

#include <unistd.h>

namespace hone::cli {
namespace {

int train(TrainFlags& flags) {
  TrainConfig& config = flags.config;
  settle(flags);
  validate(config);
  const auto engine = make_engine(flags.device, config.dtype, {.threads = flags.threads});
  if (flags.dry_run) return print_plan(flags);
  Console console = flags.quiet ? Console::quiet() : Console(stdout, isatty(STDOUT_FILENO) == 1, config.logging_steps);
  engine->train(config, policy_named(config.dtype), console, stop_on_signals());
  return 0;
}

}  // namespace

Command add_train(CLI::App& app) {
  auto* command = app.add_subcommand("train", "fine-tune (or pretrain) a model on JSONL rows");
  auto flags = std::make_shared<TrainFlags>();
  add_train_flags(*command, *flags);
  return {command, [flags] { return train(*flags); }};
}

}  // namespace hone::cli
