#include "adapter_flags.hpp"

#include "commands.hpp"

namespace hone::cli {
namespace {

double weight_named(const std::string& text) {
  std::size_t used = 0;
  double out = 0;
  try {
    out = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  check(used == text.size() && used > 0, "weights: '{}' is not a number", text);
  return out;
}

/// Weights stand in the order of the adapters, or are 1 each.
std::vector<AdapterSource> adapter_sources(const AdapterFlags& flags) {
  const auto weights = split_list(flags.weights);
  check(weights.empty() || weights.size() == flags.adapters.size(),
        "weights: {} of them for {} adapters; give one for each --adapter, in their order", weights.size(),
        flags.adapters.size());
  std::vector<AdapterSource> out;
  for (std::size_t i = 0; i < flags.adapters.size(); ++i) {
    const auto [name, folder] = named_path(flags.adapters[i]);
    out.push_back({name, folder, weights.empty() ? 1 : weight_named(weights[i])});
  }
  return out;
}

Combine combine_named(const std::string& name, std::size_t adapters) {
  check(name == "weighted" || name == "ensemble", "combine: '{}' is not known; choose weighted or ensemble", name);
  if (name == "weighted") return Combine::weighted;
  check(adapters >= 2,
        "combine: an ensemble wants at least two adapters (--adapter a=FOLDER --adapter b=FOLDER), {} is given",
        adapters);
  return Combine::ensemble;
}

}  // namespace

void add_adapter_flags(CLI::App& command, AdapterFlags& flags) {
  command
      .add_option("--adapter", flags.adapters, "PEFT folder on top of it; several: see --combine (--adapter a=FOLDER)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--weights", flags.weights, "how much each adapter counts (0.7,0.3)");
  command
      .add_option("--combine", flags.combine,
                  "several adapters: weighted (their changes add up, times the weights) or ensemble (each by itself, "
                  "with those it was trained on top of; the mean of their logits by the weights decides)")
      ->capture_default_str();
}

std::unique_ptr<Model> load_model(const Engine& engine, const std::filesystem::path& folder,
                                  const AdapterFlags& flags) {
  const auto sources = adapter_sources(flags);
  const Combine combine = combine_named(flags.combine, sources.size());
  if (sources.empty()) return engine.load(folder, {});
  // One adapter may be of any kind; several must be LoRAs, whose changes add up.
  if (sources.size() == 1 && flags.weights.empty()) return engine.load(folder, sources.front().folder);
  return engine.load_several(folder, sources, combine);
}

}  // namespace hone::cli
