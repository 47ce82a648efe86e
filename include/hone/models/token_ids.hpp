// Token ids as config.json and generation_config.json write them: a number, a list of numbers, or null.
#pragma once

#include <hone/io/json.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

namespace hone {

/// All ids of `key`. Absent, null and -1, which some files write for "none", give none.
inline std::vector<std::int64_t> token_ids_from_json(const nlohmann::json& json, std::string_view key,
                                                     std::string_view origin) {
  std::vector<std::int64_t> out;
  const auto add = [&](const nlohmann::json& id) {
    const auto number = json_int(id, key, origin, -1, std::numeric_limits<std::int32_t>::max());
    if (number >= 0) out.push_back(number);
  };
  if (const auto* value = find_key(json, key, origin)) {
    if (value->is_array())
      std::ranges::for_each(*value, add);
    else
      add(*value);
  }
  return out;
}

/// The first id of `key`, if there is one.
inline std::optional<std::int64_t> token_id_from_json(const nlohmann::json& json, std::string_view key,
                                                      std::string_view origin) {
  const auto ids = token_ids_from_json(json, key, origin);
  return ids.empty() ? std::nullopt : std::optional(ids.front());
}

}  // namespace hone
