// Staged training: LoRAs of earlier stages (general, domain) that go on acting and stay as they are, below the one that
// trains.
#pragma once

#include <hone/peft/lora.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// The LoRA of an earlier stage: its name, and what sits on which module. Its weights are read once it is in place.
struct StackedLora {
  std::string name;
  std::vector<std::pair<std::string, LoRA>> modules;
};

/// Puts the LoRA of an earlier stage on a model, frozen, its weights yet to be read. A module that the model does not
/// have is an Error, before anything is changed.
template <class Model>
void put_stacked(Model& model, const StackedLora& stage) {
  std::vector<std::string> found;
  const auto picked = detail::pick_linears(model, [&](const std::string& path) -> std::optional<LoRA> {
    const auto here = std::ranges::find(stage.modules, path, [](const auto& one) { return one.first; });
    if (here == stage.modules.end()) return std::nullopt;
    found.push_back(path);
    return here->second;
  });
  for (const auto& [path, lora] : stage.modules)
    check(std::ranges::count(found, path) > 0,
          "[stack] '{}' sits on {}, which this model does not have: the adapter belongs to another base", stage.name,
          path);
  auto adapter = std::make_shared<AdapterSwitch>();
  adapter->name = stage.name;
  for (const auto& one : picked) detail::put_beside(one, adapter, false);
}

}  // namespace hone
