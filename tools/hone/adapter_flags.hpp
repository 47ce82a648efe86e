// The flags of the adapters that act on a base: one of any kind, or several LoRAs.
#pragma once

#include "engine.hpp"

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

namespace hone::cli {

struct AdapterFlags {
  std::vector<std::string> adapters;  // NAME=FOLDER or FOLDER
  std::string weights, combine = "weighted";
};

/// Adds --adapter, --weights and --combine to a command; `flags` must outlive it.
void add_adapter_flags(CLI::App& command, AdapterFlags& flags);

/// The base in `folder` with the adapters that the flags name.
std::unique_ptr<Model> load_model(const Engine& engine, const std::filesystem::path& folder, const AdapterFlags& flags);

}  // namespace hone::cli
