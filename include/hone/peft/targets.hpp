// Which modules an adapter sits on: PEFT's target_modules, exclude_modules, layers_to_transform and layers_pattern.
#pragma once

#include <hone/core/glob.hpp>
#include <hone/core/nearest.hpp>
#include <hone/peft/lora_config.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// Whether an entry is a regular expression: it has characters that neither names nor globs use.
inline bool is_expression(std::string_view entry) { return entry.find_first_of("\\()|+^$[]") != entry.npos; }

/// Whether an entry of target_modules or exclude_modules picks the module at `path`: "all-linear", a name ("q_proj":
/// that module or any whose path ends in ".q_proj"), a glob ("*.{q,v}_proj") or a regular expression
/// (".*\.(q|v)_proj"); the last two stand for the whole path.
inline bool targets(const std::string& entry, const std::string& path) {
  if (entry == "all-linear") return true;
  if (is_expression(entry)) return NamePattern(entry).matches(path);
  if (entry.find_first_of("*?{") != std::string::npos) return Glob(entry).matches(path);
  return path == entry || path.ends_with("." + entry);
}

/// The number of the layer a module belongs to: that of the first component which is a number, stands behind a list's
/// name and before the module's ("model.layers.3.mlp.up_proj" is of layer 3). `layers_pattern` names the lists that
/// count; empty: any.
inline std::optional<std::int64_t> layer_of(const std::string& path, const std::vector<std::string>& layers_pattern) {
  const auto is_list = [&](const std::string& head) {
    const auto named = [&](const std::string& pattern) { return matches_module(pattern, head); };
    if (layers_pattern.empty()) return head.find('.') != std::string::npos;
    return std::any_of(layers_pattern.begin(), layers_pattern.end(), named);
  };
  for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1)) {
    const std::size_t end = path.find('.', dot + 1);
    if (end == std::string::npos) return std::nullopt;
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(path.data() + dot + 1, path.data() + end, number);
    if (error == std::errc{} && stop == path.data() + end && number >= 0 && is_list(path.substr(0, dot))) return number;
  }
  return std::nullopt;
}

/// Whether an entry of modules_to_save names the module at `path` or one it lies in. As in PEFT it is the end of a
/// name, not of a component: "norm" also names "model.layers.0.input_layernorm".
inline bool saves(const std::string& entry, const std::string& path) {
  for (std::size_t end = path.find('.'); end != path.npos; end = path.find('.', end + 1))
    if (std::string_view(path).substr(0, end).ends_with(entry)) return true;
  return path.ends_with(entry);
}

/// Whether `target_modules` and what `config` says about layers and exclusions pick the module at `path`. An entry that
/// is the module's whole path is not asked for its layer, as in PEFT.
inline bool picks(const std::vector<std::string>& target_modules, const LoRA& config, const std::string& path) {
  const auto has = [&](const std::vector<std::string>& entries) {
    return std::any_of(entries.begin(), entries.end(), [&](const std::string& entry) { return targets(entry, path); });
  };
  const auto is_saved = [&](const std::string& entry) { return saves(entry, path); };
  if (has(config.exclude_modules) || !has(target_modules)) return false;
  if (std::any_of(config.modules_to_save.begin(), config.modules_to_save.end(), is_saved)) return false;
  if (config.layers_to_transform.empty() || std::ranges::count(target_modules, path) > 0) return true;
  const auto layer = layer_of(path, config.layers_pattern);
  return layer.has_value() && std::ranges::count(config.layers_to_transform, *layer) > 0;
}

/// The same for the embeddings, which "all-linear" and globs leave alone.
inline bool picks_embedding(const std::vector<std::string>& target_modules, const LoRA& config,
                            const std::string& path) {
  std::vector<std::string> entries;
  for (const std::string& entry : target_modules)
    if (entry != "all-linear" && (is_expression(entry) || entry.find_first_of("*?{") == entry.npos))
      entries.push_back(entry);
  return picks(entries, config, path);
}

namespace detail {

/// Throws for a name that matches nothing, with those nearest to it among the ends of `paths`.
[[noreturn]] inline void fail_to_match(std::string_view method, std::string_view key, const std::string& entry,
                                       const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    const std::string name = entry.find('.') == std::string::npos ? path.substr(path.rfind('.') + 1) : path;
    if (std::ranges::count(names, name) == 0) names.push_back(name);
  }
  fail("[{}] {}: '{}' matches no {} of this model (nearest names: {})", method, key, entry,
       key == "modules_to_save" ? "module" : "linear", join_or(nearest_names(entry, names, 3)));
}

}  // namespace detail

}  // namespace hone
