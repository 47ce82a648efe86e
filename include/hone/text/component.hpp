// How the parts of a tokenizer.json are told apart: by "type", with errors that say where in the file they stand.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::detail {

/// "type" of a component. A component without one, or with one of the wrong kind, is an Error.
inline const std::string& component_type(const nlohmann::json& component, std::string_view origin) {
  return get_string(component, "type", origin);
}

[[noreturn]] inline void refuse_component(std::string_view type, std::string_view origin, std::string_view known) {
  fail("[{}] type \"{}\" is not supported; known here: {}", origin, type, known);
}

/// Reads the array `key` of a Sequence with `read(component, origin)`, each under its own place in the file.
template <class T, class Read>
std::vector<T> read_components(const nlohmann::json& sequence, std::string_view key, std::string_view origin,
                               Read&& read) {
  std::vector<T> out;
  std::size_t index = 0;
  for (const auto& component : get_array(sequence, key, origin)) {
    out.push_back(read(component, fmt::format("{}.{}[{}]", origin, key, index++)));
  }
  return out;
}

}  // namespace hone::detail
