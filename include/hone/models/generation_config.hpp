// generation_config.json: how a model's makers want text to be sampled from it. Every key is optional.
#pragma once

#include <hone/io/json.hpp>
#include <hone/models/token_ids.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

namespace hone {

/// What is not set stays with the caller's defaults.
struct GenerationConfig {
  std::optional<std::int64_t> bos_token_id;
  std::vector<std::int64_t> eos_token_ids;  // generation stops at any of them; wins over config.json
  std::optional<std::int64_t> pad_token_id;
  std::optional<bool> do_sample;
  std::optional<double> temperature;
  std::optional<std::int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> repetition_penalty;
  std::optional<std::int64_t> max_new_tokens;
};

inline GenerationConfig generation_config_from_json(const nlohmann::json& json, std::string_view origin) {
  constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
  GenerationConfig out;
  out.bos_token_id = token_id_from_json(json, "bos_token_id", origin);
  out.eos_token_ids = token_ids_from_json(json, "eos_token_id", origin);
  out.pad_token_id = token_id_from_json(json, "pad_token_id", origin);
  out.do_sample = find_bool(json, "do_sample", origin);
  out.temperature = find_double(json, "temperature", origin, 0.0);
  out.top_k = find_int(json, "top_k", origin, 0, largest);
  out.top_p = find_double(json, "top_p", origin, 0.0, 1.0);
  out.repetition_penalty = find_double(json, "repetition_penalty", origin, std::numeric_limits<double>::min());
  out.max_new_tokens = find_int(json, "max_new_tokens", origin, 1, largest);
  return out;
}

/// The generation_config.json of a folder; a folder without one sets nothing.
inline GenerationConfig read_generation_config(const std::filesystem::path& folder) {
  const auto path = folder / "generation_config.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  return generation_config_from_json(read_json_file(path), path.string());
}

}  // namespace hone
