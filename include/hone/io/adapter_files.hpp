// PEFT's adapter folders: adapter_config.json and the names in adapter_model.safetensors.
#pragma once

#include <hone/core/error.hpp>
#include <hone/core/module_patterns.hpp>
#include <hone/io/atomic_file.hpp>
#include <hone/io/json.hpp>
#include <hone/io/utf8.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// adapter_config.json. Names and defaults are PEFT's.
struct AdapterConfig {
  std::string peft_type = "LORA";
  std::optional<std::string> task_type = "CAUSAL_LM";
  std::optional<std::string> base_model_name_or_path;
  std::optional<std::string> revision;
  std::int64_t r = 8;
  double lora_alpha = 8.0;
  double lora_dropout = 0.0;
  std::vector<std::string> target_modules;    // names or suffixes, as a list in the file ...
  std::optional<std::string> target_pattern;  // ... or one string: "all-linear" or a regular expression
  bool use_rslora = false;
  bool use_dora = false;
  bool fan_in_fan_out = false;
  std::string bias = "none";
  ModulePatterns<std::int64_t> rank_pattern;  // over r, in the file's order
  ModulePatterns<double> alpha_pattern;       // ... over lora_alpha
  std::vector<std::string> exclude_modules;   // a list, or one expression in it
  std::vector<std::int64_t> layers_to_transform;
  std::vector<std::string> layers_pattern;
  std::vector<std::string> modules_to_save;
  nlohmann::json init_lora_weights = true;
  nlohmann::json other = nlohmann::json::object();  // every key not above, kept as it was read
};

namespace detail {

/// The keys of one object of a text's outermost object, in the order they are written: a parsed object has lost it, and
/// the first of PEFT's patterns that matches decides.
class MemberOrder : public JsonEvents {
 public:
  MemberOrder(std::string_view origin, std::string member) : JsonEvents(origin), member_(std::move(member)) {}

  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(std::int64_t) { return true; }
  bool number_unsigned(std::uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool start_object(std::size_t) { return open(); }
  bool start_array(std::size_t) { return open(); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (depth() == 1) inside_ = name == member_;
    if (depth() == 2 && inside_) keys_.push_back(name);
    return true;
  }
  std::vector<std::string> take() { return std::move(keys_); }

 private:
  bool open() {
    enter();
    return true;
  }
  bool close() {
    leave();
    return true;
  }
  std::string member_;
  bool inside_ = false;
  std::vector<std::string> keys_;
};

/// Sorts patterns as their keys stand in `text`.
template <class Value>
void restore_order(ModulePatterns<Value>& patterns, std::string_view text, std::string_view origin,
                   const std::string& member) {
  if (patterns.size() < 2) return;
  MemberOrder events(origin, member);
  parse_events(text, events);
  const auto order = events.take();
  const auto place = [&](const auto& pattern) { return std::ranges::find(order, pattern.first) - order.begin(); };
  std::ranges::sort(patterns, {}, place);
}

class AdapterConfigReader {
 public:
  AdapterConfigReader(const nlohmann::json& json, std::string_view origin)
      : other_(json), json_(json), origin_(origin) {}

  AdapterConfig read() {
    AdapterConfig out;
    out.peft_type = get_string(taken("peft_type"), "peft_type", origin_);
    out.task_type = find_string(taken("task_type"), "task_type", origin_);
    out.base_model_name_or_path = find_string(taken("base_model_name_or_path"), "base_model_name_or_path", origin_);
    out.revision = find_string(taken("revision"), "revision", origin_);
    out.r = find_int(taken("r"), "r", origin_, 1, 1 << 20).value_or(8);
    out.lora_alpha = find_double(taken("lora_alpha"), "lora_alpha", origin_).value_or(8.0);
    out.lora_dropout = find_double(taken("lora_dropout"), "lora_dropout", origin_, 0.0, 1.0).value_or(0.0);
    read_targets(out);
    out.use_rslora = flag("use_rslora");
    out.use_dora = flag("use_dora");
    out.fan_in_fan_out = flag("fan_in_fan_out");
    out.bias = find_string(taken("bias"), "bias", origin_).value_or("none");
    read_patterns(out);
    out.modules_to_save = strings("modules_to_save");
    out.exclude_modules = strings("exclude_modules");
    out.layers_pattern = strings("layers_pattern");
    read_layers(out);
    if (const auto* init = find_key(taken("init_lora_weights"), "init_lora_weights", origin_))
      out.init_lora_weights = *init;
    taken("inference_mode");  // written as true whatever it was
    out.other = std::move(other_);
    return out;
  }

 private:
  /// The whole object, once `key` is struck from what is kept as unknown.
  const nlohmann::json& taken(const std::string& key) {
    if (other_.is_object()) other_.erase(key);
    return json_;
  }
  bool flag(const std::string& key) { return find_bool(taken(key), key, origin_).value_or(false); }

  std::vector<std::string> strings(const std::string& key) {
    std::vector<std::string> out;
    const auto* value = find_key(taken(key), key, origin_);
    if (value == nullptr) return out;
    if (value->is_string() && key != "target_modules") return {json_string(*value, key, origin_)};
    for (const auto& item : get_array(json_, key, origin_)) out.push_back(json_string(item, key, origin_));
    return out;
  }
  void read_targets(AdapterConfig& out) {
    const auto* targets = find_key(json_, "target_modules", origin_);
    if (targets == nullptr || targets->is_array())
      out.target_modules = strings("target_modules");
    else
      out.target_pattern = json_string(*targets, "target_modules", origin_);
    taken("target_modules");
  }
  void read_patterns(AdapterConfig& out) {
    if (find_key(taken("rank_pattern"), "rank_pattern", origin_) != nullptr)
      for (const auto& [key, value] : get_object(json_, "rank_pattern", origin_).items())
        out.rank_pattern.emplace_back(key, json_int(value, "rank_pattern", origin_, 1, 1 << 20));
    if (find_key(taken("alpha_pattern"), "alpha_pattern", origin_) != nullptr)
      for (const auto& [key, value] : get_object(json_, "alpha_pattern", origin_).items())
        out.alpha_pattern.emplace_back(key, json_double(value, "alpha_pattern", origin_));
  }
  /// A list of numbers, or one number.
  void read_layers(AdapterConfig& out) {
    const auto* value = find_key(taken("layers_to_transform"), "layers_to_transform", origin_);
    if (value == nullptr) return;
    const auto number = [&](const nlohmann::json& one) {
      out.layers_to_transform.push_back(json_int(one, "layers_to_transform", origin_, 0, 1 << 20));
    };
    if (!value->is_array()) return number(*value);
    for (const auto& one : *value) number(one);
  }

  nlohmann::json other_;
  const nlohmann::json& json_;
  std::string_view origin_;
};

/// 16, not 16.0: PEFT declares lora_alpha an integer.
inline nlohmann::json shortest_number(double value) {
  const bool integral = std::floor(value) == value && std::abs(value) < 1e15;
  return integral ? nlohmann::json(static_cast<std::int64_t>(value)) : nlohmann::json(value);
}

}  // namespace detail

inline AdapterConfig adapter_config_from_json(const nlohmann::json& json, std::string_view origin) {
  return detail::AdapterConfigReader(json, origin).read();
}

/// Reads adapter_config.json of a PEFT folder.
inline AdapterConfig read_adapter_config(const std::filesystem::path& folder) {
  const auto path = folder / "adapter_config.json";
  const std::string text = read_file(path);
  auto out = adapter_config_from_json(parse_json(text, path.string()), path.string());
  detail::restore_order(out.rank_pattern, text, path.string(), "rank_pattern");
  detail::restore_order(out.alpha_pattern, text, path.string(), "alpha_pattern");
  return out;
}

/// The smallest set of keys that says it all: old versions of PEFT refuse keys they do not know, so those that came
/// later are written only when they differ from the default.
inline nlohmann::json adapter_config_to_json(const AdapterConfig& config) {
  const auto or_null = [](const auto& value) { return value ? nlohmann::json(*value) : nlohmann::json(nullptr); };
  auto json = config.other;
  json.update({{"peft_type", config.peft_type},
               {"task_type", or_null(config.task_type)},
               {"base_model_name_or_path", or_null(config.base_model_name_or_path)},
               {"revision", or_null(config.revision)},
               {"inference_mode", true},
               {"r", config.r},
               {"lora_alpha", detail::shortest_number(config.lora_alpha)},
               {"lora_dropout", config.lora_dropout},
               {"bias", config.bias},
               {"fan_in_fan_out", config.fan_in_fan_out},
               {"init_lora_weights", config.init_lora_weights}});
  if (config.target_pattern)
    json["target_modules"] = *config.target_pattern;
  else
    json["target_modules"] = config.target_modules;
  json["modules_to_save"] =
      config.modules_to_save.empty() ? nlohmann::json(nullptr) : nlohmann::json(config.modules_to_save);
  for (const auto& [key, rank] : config.rank_pattern) json["rank_pattern"][key] = rank;
  for (const auto& [key, alpha] : config.alpha_pattern) json["alpha_pattern"][key] = detail::shortest_number(alpha);
  if (!config.exclude_modules.empty()) json["exclude_modules"] = config.exclude_modules;
  if (!config.layers_to_transform.empty()) json["layers_to_transform"] = config.layers_to_transform;
  if (!config.layers_pattern.empty()) json["layers_pattern"] = config.layers_pattern;
  if (config.use_rslora) json["use_rslora"] = true;
  if (config.use_dora) json["use_dora"] = true;
  return json;
}

inline void write_adapter_config(const std::filesystem::path& folder, const AdapterConfig& config) {
  write_file(folder / "adapter_config.json", adapter_config_to_json(config).dump(2) + "\n");
}

/// Throws an Error that names the first feature of the adapter hone does not apply; `origin` opens it.
inline void refuse_unsupported(const AdapterConfig& config, std::string_view origin = "adapter_config.json") {
  check(config.peft_type == "LORA", "[{}] peft_type \"{}\" is not supported; LORA is", origin,
        printable(config.peft_type));
  check(config.bias == "none", "[{}] bias \"{}\" is not supported; none is", origin, printable(config.bias));
  check(!config.fan_in_fan_out, "[{}] fan_in_fan_out is not supported", origin);
  // These initialisations change the base weights, so the adapter alone is not the model.
  const auto& init = config.init_lora_weights;
  const bool plain = init.is_boolean() || init == "gaussian" || init == "eva" || init == "orthogonal";
  check(plain, "[{}] init_lora_weights {} is not supported: it changes the base weights; convert it to a plain LoRA",
        origin, detail::json_summary(init));
  // Keys of newer PEFT versions whose mere presence, other than null, false or empty, changes what is computed.
  for (const auto* key : {"layer_replication", "lora_bias", "target_parameters", "trainable_token_indices",
                          "use_qalora", "alora_invocation_tokens", "arrow_config"}) {
    const auto found = config.other.find(key);
    if (found == config.other.end() || found->is_null() || *found == false) continue;
    check(found->is_structured() && found->empty(), "[{}] {} is not supported", origin, key);
  }
}

/// Rank of the adapter on `module` ("model.layers.0.self_attn.q_proj").
inline std::int64_t adapter_rank(const AdapterConfig& config, const std::string& module) {
  return matching(config.rank_pattern, module, config.r);
}

/// lora_alpha of the adapter on `module`.
inline double adapter_alpha(const AdapterConfig& config, const std::string& module) {
  return matching(config.alpha_pattern, module, config.lora_alpha);
}

/// What B A x is multiplied by on `module`: alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA.
inline double adapter_scale(const AdapterConfig& config, const std::string& module) {
  const auto rank = static_cast<double>(adapter_rank(config, module));
  const auto alpha = adapter_alpha(config, module);
  return alpha / (config.use_rslora ? std::sqrt(rank) : rank);
}

/// A tensor of an adapter file: which module, and which of its parts ("lora_A", "lora_B", ...).
struct AdapterKey {
  std::string module;
  std::string part;

  friend bool operator==(const AdapterKey&, const AdapterKey&) = default;
};

inline constexpr std::array<std::string_view, 5> adapter_parts{"lora_A", "lora_B", "lora_embedding_A",
                                                               "lora_embedding_B", "lora_magnitude_vector"};

/// "base_model.model.<module>.lora_A.weight"; PEFT gives only lora_A and lora_B a ".weight".
inline std::string adapter_tensor_name(const AdapterKey& key) {
  const bool linear = key.part == "lora_A" || key.part == "lora_B";
  return fmt::format("base_model.model.{}.{}{}", key.module, key.part, linear ? ".weight" : "");
}

/// The module and part a tensor name stands for; nullopt when it is none of PEFT's. An adapter's own name between part
/// and ".weight" ("lora_A.default.weight"), as some trainers leave it, is passed over.
inline std::optional<AdapterKey> parse_adapter_tensor_name(std::string_view name) {
  constexpr std::string_view prefix = "base_model.model.";
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  for (const auto part : adapter_parts) {
    const auto at = name.rfind(fmt::format(".{}", part));
    if (at == name.npos || at == 0) continue;
    auto rest = name.substr(at + 1 + part.size());
    if (!rest.empty() && !rest.starts_with('.')) continue;  // "lora_Almost"
    if (rest.ends_with(".weight")) rest.remove_suffix(7);
    if (std::ranges::count(rest, '.') > 1) continue;
    return AdapterKey{std::string(name.substr(0, at)), std::string(part)};
  }
  return std::nullopt;
}

}  // namespace hone
