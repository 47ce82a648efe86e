// What a Hugging Face folder says of special tokens beside its tokenizer.json.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace hone {

/// A special token by its text or, from config.json, by its id; neither when no file names it.
struct SpecialTokenName {
  std::string text = {};
  std::optional<std::int32_t> id = std::nullopt;
  std::string origin = {};
  bool is_none = false;  // a file says null: the model has no such token, whatever the files after it say

  bool is_set() const { return is_none || !text.empty() || id.has_value(); }
};

struct TokenizerConfig {
  SpecialTokenName bos, eos, pad;
  std::optional<bool> add_bos, add_eos;  // absent: as the post-processor of tokenizer.json has it
  std::string origin;

  /// Reads the files that are there; all may be missing. Errors name file and key.
  static TokenizerConfig from_folder(const std::filesystem::path& folder) {
    TokenizerConfig out;
    const auto path = folder / "tokenizer_config.json";
    out.origin = path.string();
    if (std::filesystem::exists(path)) {
      const auto json = read_json_file(path);
      out.read_texts(json, out.origin);
      out.add_bos = find_bool(json, "add_bos_token", out.origin);
      out.add_eos = find_bool(json, "add_eos_token", out.origin);
    }
    if (const auto map = folder / "special_tokens_map.json"; std::filesystem::exists(map)) {
      out.read_texts(read_json_file(map), map.string());
    }
    if (const auto config = folder / "config.json"; std::filesystem::exists(config)) {
      out.read_ids(read_json_file(config), config.string());
    }
    return out;
  }

 private:
  /// Names not set yet: a string, or an object with the string in "content".
  void read_texts(const nlohmann::json& json, const std::string& from) {
    for (const auto& [key, name] : {std::pair{"bos_token", &bos}, {"eos_token", &eos}, {"pad_token", &pad}}) {
      const auto* value = find_key(json, key, from);
      if (name->is_set()) continue;
      name->is_none = value == nullptr && json.contains(key);
      if (value == nullptr) continue;
      name->text = value->is_object() ? get_string(*value, "content", from) : json_string(*value, key, from);
      name->origin = from;
    }
  }

  /// Ids for names not set yet; of a list (several tokens may end a text) the first.
  void read_ids(const nlohmann::json& json, const std::string& from) {
    for (const auto& [key, name] : {std::pair{"bos_token_id", &bos}, {"eos_token_id", &eos}, {"pad_token_id", &pad}}) {
      const auto* value = find_key(json, key, from);
      if (value != nullptr && value->is_array()) value = value->empty() ? nullptr : &value->front();
      if (value == nullptr || name->is_set()) continue;
      const auto id = json_int(*value, key, from, -1, INT32_MAX);  // -1 is written for "none"
      if (id >= 0) name->id = static_cast<std::int32_t>(id);
      name->origin = from;
    }
  }
};

}  // namespace hone
