// What is noticed about an adapter's folder and is no reason to refuse it: keys that mean nothing here, another base.
#pragma once

#include <hone/io/adapter_files.hpp>
#include <hone/io/base_hash.hpp>
#include <hone/peft/method_folders.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// Sentences for whoever loads an adapter.
using AdapterNotes = std::vector<std::string>;

namespace detail {

/// Keys that change nothing about an adapter once it is trained. PEFT's: how it began, and who wrote it. AdapterHub's:
/// what counts only beside phm_layer. What is off, as null, false, 0 or empty, says nothing either.
inline bool says_nothing(const std::string& key, const nlohmann::json& value) {
  constexpr std::array passive = {"auto_mapping",      "peft_version",
                                  "megatron_core",     "megatron_config",
                                  "qalora_group_size", "runtime_config",
                                  "exclude_modules",   "tokenizer_kwargs",
                                  "init_weights",      "ensure_weight_tying",
                                  "factorized_phm_W",  "hypercomplex_nonlinearity",
                                  "learn_phm",         "phm_bias",
                                  "phm_c_init",        "phm_dim",
                                  "phm_init_range",    "phm_rank",
                                  "shared_phm_rule"};
  if (std::ranges::count(passive, std::string_view(key)) > 0) return true;
  const bool zero = value.is_number() && value == 0;
  return value.is_null() || value == false || zero || (value.is_structured() && value.empty());
}

/// Keys of an adapter's config without a meaning here, in their places, and what a sentence calls them.
struct UnknownKeys {
  nlohmann::json keys = nlohmann::json::object();
  std::vector<std::string> names = {};  ///< those of inner objects behind a dot
};

/// What of `theirs` hone would not write by itself, but for keys that say nothing. Objects of both are looked into.
inline UnknownKeys unknown_keys(const nlohmann::json& theirs, const nlohmann::json& ours) {
  UnknownKeys out;
  for (const auto& [key, value] : theirs.items()) {
    const auto known = ours.find(key);
    if (known == ours.end()) {
      if (says_nothing(key, value)) continue;
      out.keys[key] = value;
      out.names.push_back(key);
    } else if (value.is_object() && known->is_object()) {
      const UnknownKeys inner = unknown_keys(value, *known);
      if (inner.names.empty()) continue;
      out.keys[key] = inner.keys;
      for (const std::string& name : inner.names) out.names.push_back(fmt::format("{}.{}", key, name));
    }
  }
  return out;
}

/// Throws for a peft_type that nobody here reads, with the nearest that is read.
inline void check_known_type(const nlohmann::json& json, const std::string& origin) {
  const std::string type = method_type(json, origin);
  if (type.empty()) return;  // whoever reads the config says what is missing
  std::vector<std::string> known = {"LORA"};
  any_method([&]<class Config>() {
    if (MethodFolder<Config>::peft_type != "adapters") known.emplace_back(MethodFolder<Config>::peft_type);
    return false;
  });
  std::string upper = type;
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  check(type == "adapters" || std::ranges::count(known, type) > 0,
        "[{}] peft_type \"{}\" is not supported (nearest: {}); hone reads {}", origin, printable(type),
        join_or(nearest_names(upper, known, 1)), join_or(known));
}

/// Remembers the keys of a folder that hone does not know, under the adapter's name, and says which they are.
template <class Model>
void keep_unknown_keys(Model& model, const UnknownKeys& unknown, const std::string& origin, const std::string& name,
                       AdapterNotes& notes) {
  if (unknown.names.empty()) return;
  model.kept_keys[name] = unknown.keys.dump();
  std::string list;
  for (const std::string& key : unknown.names)
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", printable(key));
  notes.push_back(fmt::format(
      "[{}] hone does not know {}: nothing here depends on it, and saving the adapter again keeps it", origin, list));
}

/// Says where a model's folder is not the base that the adapter was trained on.
inline void compare_bases(const std::filesystem::path& base, const std::filesystem::path& adapter,
                          AdapterNotes& notes) {
  const auto written = read_base_hash(adapter);
  if (!written) return;
  const auto here = find_hash_of_base(base);
  if (!here) return;
  const std::string difference = base_difference(*written, *here);
  if (!difference.empty())
    notes.push_back(
        fmt::format("[{}] was trained on another base than {}: {}. It fits by its shapes, but what it adds "
                    "was learned for other weights",
                    adapter.string(), base.string(), difference));
}

/// Says where an adapter lacks those it was trained on top of.
template <class Model>
void compare_stacks(Model& model, const std::filesystem::path& adapter, AdapterNotes& notes) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  std::vector<std::string> missing = read_stacked_on(adapter);
  visit_bypasses_of<LoraBypass<T, D>>(
      model, [&](const std::string&, auto& lora) { std::erase(missing, lora.adapter().name); });
  if (!missing.empty())
    notes.push_back(fmt::format("[{}] was trained on top of other adapters; load them before it, by these names: {}",
                                adapter.string(), printable(fmt::format("{}", fmt::join(missing, ", ")))));
}

}  // namespace detail

}  // namespace hone
