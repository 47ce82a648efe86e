// The "model" of a tokenizer.json as a Bpe; every number and string in it is checked.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/text/bpe.hpp>
#include <hone/text/vocabulary.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::detail {

/// "left right", where the parts may hold blanks themselves: the one cut whose parts and whole are tokens.
inline std::pair<std::string, std::string> cut_merge(const std::string& line, const Vocabulary& vocabulary,
                                                     std::size_t index, std::string_view origin) {
  const auto first = line.find(' ');
  check(first != std::string::npos, "[{}] merges[{}]: \"{}\" has no blank between its parts", origin, index, line);
  if (line.find(' ', first + 1) == std::string::npos) return {line.substr(0, first), line.substr(first + 1)};
  std::vector<std::pair<std::string, std::string>> fits;
  for (auto at = first; at != std::string::npos; at = line.find(' ', at + 1)) {
    std::pair parts{line.substr(0, at), line.substr(at + 1)};
    if (vocabulary.find(parts.first) && vocabulary.find(parts.second) && vocabulary.find(parts.first + parts.second)) {
      fits.push_back(std::move(parts));
    }
  }
  check(fits.size() == 1, "[{}] merges[{}]: \"{}\" can be cut into two tokens in {} ways; one was expected", origin,
        index, line, fits.size());
  return std::move(fits.front());
}

inline std::vector<std::pair<std::string, std::string>> read_merges(const nlohmann::json& merges,
                                                                    const Vocabulary& vocabulary,
                                                                    std::string_view origin) {
  check(merges.is_array(), "[{}] \"merges\" is {}; an array was expected", origin, json_summary(merges));
  std::vector<std::pair<std::string, std::string>> out;
  out.reserve(merges.size());
  for (const auto& merge : merges) {
    if (merge.is_string()) {
      out.push_back(cut_merge(merge.get_ref<const std::string&>(), vocabulary, out.size(), origin));
      continue;
    }
    check(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
          "[{}] merges[{}] is {}; \"left right\" or [\"left\", \"right\"] was expected", origin, out.size(),
          json_summary(merge));
    out.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  return out;
}

/// Refuses by name what would change the ids and is not built.
inline void refuse_bpe_features(const nlohmann::json& model, std::string_view origin) {
  const auto type = find_string(model, "type", origin).value_or("BPE");
  check(type == "BPE", "[{}] type \"{}\" is not supported; known here: BPE", origin, type);
  check(find_double(model, "dropout", origin).value_or(0) == 0, "[{}] \"dropout\" is not supported", origin);
  for (const auto* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto text = find_string(model, key, origin).value_or("");
    check(text.empty(), "[{}] \"{}\": \"{}\" is not supported", origin, key, text);
  }
}

inline Bpe read_bpe(const nlohmann::json& model, const std::string& origin) {
  refuse_bpe_features(model, origin);
  auto vocabulary = Vocabulary::from_json(get_key(model, "vocab", origin), origin);
  const auto merges = read_merges(get_key(model, "merges", origin), vocabulary, origin);
  BpeSettings settings;
  settings.fuse_unknown = find_bool(model, "fuse_unk", origin).value_or(false);
  settings.byte_fallback = find_bool(model, "byte_fallback", origin).value_or(false);
  settings.ignore_merges = find_bool(model, "ignore_merges", origin).value_or(false);
  if (const auto unknown = find_string(model, "unk_token", origin)) {
    settings.unknown = vocabulary.find(*unknown);
    check(settings.unknown.has_value(), "[{}] \"unk_token\": \"{}\" is not in the vocabulary", origin, *unknown);
  }
  return Bpe(std::move(vocabulary), merges, settings, origin);
}

}  // namespace hone::detail
