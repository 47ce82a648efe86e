// Values for modules by patterns over their names, as PEFT's rank_pattern and alpha_pattern give them.
#pragma once

#include <hone/core/name_pattern.hpp>

#include <string>
#include <utility>
#include <vector>

namespace hone {

/// Patterns and their values; the first key that matches decides, so order counts.
template <class Value>
using ModulePatterns = std::vector<std::pair<std::string, Value>>;

/// Whether `key`, a regular expression, matches a module's name or what follows one of its dots, as PEFT reads it:
/// "q_proj", "layers.0.self_attn.q_proj", "^lm_head", "layers\.[0-3]\..*".
inline bool matches_module(const std::string& key, const std::string& module) {
  if (module == key || module.ends_with("." + key)) return true;  // nearly all are plain names
  return NamePattern("(.*\\.)?(" + key + ")$").matches(module);
}

/// The value of the first key that matches `module`.
template <class Value>
Value matching(const ModulePatterns<Value>& patterns, const std::string& module, Value otherwise) {
  for (const auto& [key, value] : patterns)
    if (matches_module(key, module)) return value;
  return otherwise;
}

}  // namespace hone
