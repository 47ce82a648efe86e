// The flags of a training run: `hone train` runs what they say, `hone plan` plans it.
#pragma once

#include "command_line.hpp"

#include <hone/train/train_config.hpp>

#include <string>

namespace hone::cli {

struct TrainFlags {
  TrainConfig config;
  std::string device = "auto", targets, feedforward, budget, config_file;
  std::string excluded, ranks, alphas, layers, layer_lists, whole_modules;  // lists, as they are typed
  std::string unquantised, offload, stack, earlier;
  int threads = 0;
  bool quiet = false, dry_run = false;  // of training; a file that both commands read may hold them
};

/// Registers every canonical key of a run.
void add_train_flags(CLI::App& app, TrainFlags& flags);

/// What flags say as text becomes what the configuration holds; call it once they are parsed.
void settle(TrainFlags& flags);

}  // namespace hone::cli
