// config.json of a Hugging Face folder to LlamaConfig and back. A feature hone does not compute is refused by its name.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/io/utf8.hpp>
#include <hone/models/llama_config.hpp>
#include <hone/models/token_ids.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace hone {

/// What transformers' configuration class of a model_type implies when config.json is silent (0: derived).
struct LlamaFamily {
  std::string_view model_type;
  std::string_view architecture;
  bool qkv_bias;
  bool qk_norm;
  std::int64_t num_key_value_heads;  // 0: num_attention_heads
  std::int64_t head_dim;             // 0: hidden_size / num_attention_heads
  std::int64_t max_position_embeddings;
  bool windowed;       // has a sliding_window at all
  bool window_opt_in;  // ... only with use_sliding_window, and above max_window_layers
};

inline constexpr std::array<LlamaFamily, 4> llama_families{{
    {"llama", "LlamaForCausalLM", false, false, 0, 0, 2048, false, false},
    {"mistral", "MistralForCausalLM", false, false, 8, 0, 131072, true, false},
    {"qwen2", "Qwen2ForCausalLM", true, false, 32, 0, 32768, true, true},
    {"qwen3", "Qwen3ForCausalLM", false, true, 32, 128, 32768, true, true},
}};

/// The family of a model_type; an Error that lists the known ones otherwise.
inline const LlamaFamily& llama_family(std::string_view model_type, std::string_view origin) {
  const auto found = std::ranges::find(llama_families, model_type, &LlamaFamily::model_type);
  if (found == llama_families.end()) {
    std::string known;
    for (const auto& family : llama_families) known += (known.empty() ? "" : ", ") + std::string(family.model_type);
    fail("[{}] model_type \"{}\" is not supported; hone knows {}", origin, printable(model_type), known);
  }
  return *found;
}

namespace detail {

/// One config.json being read. Sizes are bounded here as far as JSON goes and checked together by validate().
class LlamaConfigReader {
 public:
  LlamaConfigReader(const nlohmann::json& json, std::string_view origin)
      : json_(json), origin_(origin), family_(llama_family(get_string(json, "model_type", origin), origin)) {}

  LlamaConfig read() {
    refuse_unsupported();
    LlamaConfig out;
    out.model_type = family_.model_type;
    out.architectures = architectures();
    read_sizes(out);
    out.rms_norm_eps = find_double(json_, "rms_norm_eps", origin_).value_or(1e-6);
    read_rope(out);
    out.tie_word_embeddings = flag("tie_word_embeddings");
    const bool all_biases = family_.model_type != "qwen2" && family_.model_type != "mistral" && flag("attention_bias");
    out.attention_bias = all_biases;
    out.qkv_bias = family_.qkv_bias || all_biases;
    out.qk_norm = family_.qk_norm;
    read_window(out);
    read_tokens(out);
    out.torch_dtype = saved_dtype();
    out.quantization = quantisation();
    validate(out, origin_);
    return out;
  }

 private:
  static constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();

  bool flag(std::string_view key) const { return find_bool(json_, key, origin_).value_or(false); }
  std::int64_t size(std::string_view key) const { return get_int(json_, key, origin_, 1, largest); }
  std::int64_t size_or(std::string_view key, std::int64_t fallback) const {
    return find_int(json_, key, origin_, 1, largest).value_or(fallback);
  }

  void refuse_unsupported() const {
    const auto act = find_string(json_, "hidden_act", origin_).value_or("silu");
    check(act == "silu", "[{}] hidden_act \"{}\" is not supported; silu is", origin_, printable(act));
    check(!flag("mlp_bias"), "[{}] mlp_bias is not supported", origin_);
    check(find_double(json_, "partial_rotary_factor", origin_).value_or(1.0) == 1.0,
          "[{}] partial_rotary_factor other than 1 is not supported", origin_);
  }

  std::vector<std::string> architectures() const {
    std::vector<std::string> out;
    if (find_key(json_, "architectures", origin_) != nullptr)
      for (const auto& name : get_array(json_, "architectures", origin_))
        out.push_back(json_string(name, "architectures", origin_));
    if (out.empty()) out.emplace_back(family_.architecture);
    return out;
  }

  void read_sizes(LlamaConfig& out) const {
    out.hidden_size = size("hidden_size");
    out.intermediate_size = size("intermediate_size");
    out.num_hidden_layers = size("num_hidden_layers");
    out.num_attention_heads = size("num_attention_heads");
    out.vocab_size = size("vocab_size");
    // Absent means the family's default, null means as many as there are query heads.
    const bool grouped = family_.num_key_value_heads != 0 && !json_.contains("num_key_value_heads");
    out.num_key_value_heads =
        size_or("num_key_value_heads", grouped ? family_.num_key_value_heads : out.num_attention_heads);
    out.head_dim = size_or("head_dim", family_.head_dim);
    if (out.head_dim == 0) {
      check(out.hidden_size % out.num_attention_heads == 0,
            "[{}] hidden_size ({}) must be a multiple of num_attention_heads ({}) where head_dim is not given", origin_,
            out.hidden_size, out.num_attention_heads);
      out.head_dim = out.hidden_size / out.num_attention_heads;
    }
    out.max_position_embeddings = size_or("max_position_embeddings", family_.max_position_embeddings);
  }

  /// rope_theta and rope_scaling, or rope_parameters, which newer transformers write in their place.
  void read_rope(LlamaConfig& out) const {
    out.rope_theta = find_double(json_, "rope_theta", origin_).value_or(10000.0);
    for (const std::string_view key : {"rope_scaling", "rope_parameters"}) {
      if (find_key(json_, key, origin_) == nullptr) continue;
      const auto& rope = get_object(json_, key, origin_);
      const auto named = [&](std::string_view name) { return fmt::format("{}.{}", key, name); };
      if (const auto* theta = find_key(rope, "rope_theta", origin_))
        out.rope_theta = json_double(*theta, named("rope_theta"), origin_);
      if (const auto* part = find_key(rope, "partial_rotary_factor", origin_))
        check(json_double(*part, named("partial_rotary_factor"), origin_) == 1.0,
              "[{}] partial_rotary_factor other than 1 is not supported", origin_);
      read_rope_type(rope, named, out);
    }
  }

  template <class Named>
  void read_rope_type(const nlohmann::json& rope, const Named& named, LlamaConfig& out) const {
    const auto* given = find_key(rope, "rope_type", origin_);
    if (given == nullptr) given = find_key(rope, "type", origin_);
    const std::string type = given == nullptr ? "default" : json_string(*given, named("rope_type"), origin_);
    check(given != nullptr || find_key(rope, "factor", origin_) == nullptr, "[{}] {} is missing", origin_,
          named("rope_type"));
    check(type == "default" || type == "llama3", "[{}] {} \"{}\" is not supported; default and llama3 are", origin_,
          named("rope_type"), printable(type));
    if (type != "llama3") return;
    const auto number = [&](std::string_view key) {
      return json_double(get_key(rope, key, origin_), named(key), origin_);
    };
    out.rope_scaling = {number("factor"), number("low_freq_factor"), number("high_freq_factor"),
                        json_int(get_key(rope, "original_max_position_embeddings", origin_),
                                 named("original_max_position_embeddings"), origin_, 1, largest)};
  }

  void read_window(LlamaConfig& out) const {
    if (!family_.windowed || (family_.window_opt_in && !flag("use_sliding_window"))) return check_layer_types(out);
    // transformers' default for an absent key; null switches the window off.
    if (!json_.contains("sliding_window"))
      out.sliding_window = 4096;
    else
      out.sliding_window = find_int(json_, "sliding_window", origin_, 1, largest);
    if (family_.window_opt_in && out.sliding_window)
      out.max_window_layers = find_int(json_, "max_window_layers", origin_, 0, largest).value_or(28);
    check_layer_types(out);
  }

  /// layer_types repeats what sliding_window and max_window_layers say; anything else is another model.
  void check_layer_types(const LlamaConfig& out) const {
    if (find_key(json_, "layer_types", origin_) == nullptr) return;
    const auto& types = get_array(json_, "layer_types", origin_);
    check(std::cmp_equal(types.size(), out.num_hidden_layers), "[{}] layer_types has {} entries for {} layers", origin_,
          types.size(), out.num_hidden_layers);
    for (std::size_t i = 0; i < types.size(); ++i) {
      const auto& type = json_string(types[i], "layer_types", origin_);
      const bool windowed = out.window_of_layer(static_cast<std::int64_t>(i)) > 0;
      const std::string_view expected = windowed ? "sliding_attention" : "full_attention";
      check(type == expected, "[{}] layer_types[{}] is \"{}\"; sliding_window and max_window_layers make it \"{}\"",
            origin_, i, printable(type), expected);
    }
  }

  void read_tokens(LlamaConfig& out) const {
    out.bos_token_id = token_id_from_json(json_, "bos_token_id", origin_);
    out.eos_token_ids = token_ids_from_json(json_, "eos_token_id", origin_);
    out.pad_token_id = token_id_from_json(json_, "pad_token_id", origin_);
  }

  /// quantization_config as bitsandbytes' models have it. Keys that say how to compute are not hone's.
  std::optional<Quantisation> quantisation() const {
    if (find_key(json_, "quantization_config", origin_) == nullptr) return std::nullopt;
    const auto& json = get_object(json_, "quantization_config", origin_);
    const auto is_set = [&](std::string_view key) { return find_bool(json, key, origin_).value_or(false); };
    const auto method = find_string(json, "quant_method", origin_).value_or("bitsandbytes");
    check(method == "bitsandbytes", "[{}] quantization_config.quant_method \"{}\" is not supported; bitsandbytes is",
          origin_, printable(method));
    const bool four = is_set("load_in_4bit"), eight = is_set("load_in_8bit");
    check(four != eight, "[{}] quantization_config: one of load_in_4bit and load_in_8bit was expected", origin_);
    Quantisation out{.type = four ? QuantType::nf4 : QuantType::int8,
                     .double_quant = is_set("bnb_4bit_use_double_quant")};
    if (four) {
      const auto type = find_string(json, "bnb_4bit_quant_type", origin_).value_or("fp4");
      check(type == "nf4", "[{}] bnb_4bit_quant_type \"{}\" is not supported; nf4 is", origin_, printable(type));
      const auto storage = find_string(json, "bnb_4bit_quant_storage", origin_).value_or("uint8");
      check(storage == "uint8", "[{}] bnb_4bit_quant_storage \"{}\" is not supported; uint8 is", origin_,
            printable(storage));
    }
    check(!is_set("llm_int8_has_fp16_weight"), "[{}] llm_int8_has_fp16_weight is not supported", origin_);
    if (find_key(json, "llm_int8_skip_modules", origin_) != nullptr)
      for (const auto& name : get_array(json, "llm_int8_skip_modules", origin_))
        out.skip_modules.push_back(skipped_module(json_string(name, "llm_int8_skip_modules", origin_)));
    return out;
  }
  /// transformers takes entries as regular expressions; names alone mean the same here.
  std::string skipped_module(const std::string& entry) const {
    const bool plain = entry.find_first_of("*+?()[]{}|^$\\") == std::string::npos;
    check(plain, "[{}] llm_int8_skip_modules: '{}' is a pattern; names are supported", origin_, printable(entry));
    return entry;
  }

  std::optional<DType> saved_dtype() const {
    auto name = find_string(json_, "torch_dtype", origin_);
    if (!name) name = find_string(json_, "dtype", origin_);
    if (!name || *name == "auto") return std::nullopt;
    for (const auto dtype : {DType::f32, DType::bf16, DType::f16, DType::f64})
      if (*name == name_of(dtype)) return dtype;
    fail("[{}] torch_dtype \"{}\" is not supported; float32, bfloat16, float16 and float64 are", origin_,
         printable(*name));
  }

  const nlohmann::json& json_;
  std::string_view origin_;
  const LlamaFamily& family_;
};

}  // namespace detail

/// Reads and validates a config.json already parsed; `origin` names it in errors.
inline LlamaConfig llama_config_from_json(const nlohmann::json& json, std::string_view origin) {
  return detail::LlamaConfigReader(json, origin).read();
}

/// Reads and validates `path`: a config.json, or the folder that holds it.
inline LlamaConfig read_llama_config(const std::filesystem::path& path) {
  std::error_code error;
  const auto file = std::filesystem::is_directory(path, error) ? path / "config.json" : path;
  return llama_config_from_json(read_json_file(file), file.string());
}

/// The quantization_config that transformers' BitsAndBytesConfig reads.
inline nlohmann::json quantisation_to_json(const Quantisation& quantisation) {
  const bool four = quantisation.type == QuantType::nf4;
  nlohmann::json json = {{"quant_method", "bitsandbytes"},
                         {"load_in_4bit", four},
                         {"load_in_8bit", !four},
                         {"llm_int8_skip_modules", nullptr}};
  if (four) {
    json["bnb_4bit_quant_type"] = "nf4";
    json["bnb_4bit_use_double_quant"] = quantisation.double_quant;
    json["bnb_4bit_quant_storage"] = "uint8";
    json["bnb_4bit_compute_dtype"] = "bfloat16";
  }
  if (quantisation.skip_modules.empty()) return json;
  // Where there is a list, transformers leaves out the head only if it is on it.
  auto skipped = quantisation.skip_modules;
  if (std::ranges::find(skipped, "lm_head") == skipped.end()) skipped.emplace_back("lm_head");
  json["llm_int8_skip_modules"] = skipped;
  return json;
}

/// The config.json that says the same, in the keys every transformers version reads.
inline nlohmann::json llama_config_to_json(const LlamaConfig& config) {
  const auto& family = llama_family(config.model_type, "llama config");
  const auto or_null = [](const auto& value) { return value ? nlohmann::json(*value) : nlohmann::json(nullptr); };
  nlohmann::json json = {{"architectures", config.architectures},
                         {"model_type", config.model_type},
                         {"hidden_size", config.hidden_size},
                         {"intermediate_size", config.intermediate_size},
                         {"num_hidden_layers", config.num_hidden_layers},
                         {"num_attention_heads", config.num_attention_heads},
                         {"num_key_value_heads", config.num_key_value_heads},
                         {"head_dim", config.head_dim},
                         {"vocab_size", config.vocab_size},
                         {"max_position_embeddings", config.max_position_embeddings},
                         {"rms_norm_eps", config.rms_norm_eps},
                         {"rope_theta", config.rope_theta},
                         {"rope_scaling", nullptr},
                         {"tie_word_embeddings", config.tie_word_embeddings},
                         {"hidden_act", "silu"},
                         {"use_cache", true},
                         {"bos_token_id", or_null(config.bos_token_id)},
                         {"pad_token_id", or_null(config.pad_token_id)}};
  if (config.model_type == "llama" || config.model_type == "qwen3") json["attention_bias"] = config.attention_bias;
  if (config.model_type == "llama") json["mlp_bias"] = false;
  if (config.eos_token_ids.size() == 1)
    json["eos_token_id"] = config.eos_token_ids.front();
  else
    json["eos_token_id"] =
        config.eos_token_ids.empty() ? nlohmann::json(nullptr) : nlohmann::json(config.eos_token_ids);
  if (const auto& scaling = config.rope_scaling)
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", scaling->factor},
                            {"low_freq_factor", scaling->low_freq_factor},
                            {"high_freq_factor", scaling->high_freq_factor},
                            {"original_max_position_embeddings", scaling->original_max_position_embeddings}};
  if (family.windowed) json["sliding_window"] = or_null(config.sliding_window);
  if (family.window_opt_in) {
    json["use_sliding_window"] = config.sliding_window.has_value();
    json["max_window_layers"] = config.max_window_layers;
  }
  if (config.torch_dtype) json["torch_dtype"] = name_of(*config.torch_dtype);
  if (config.quantization) json["quantization_config"] = quantisation_to_json(*config.quantization);
  return json;
}

}  // namespace hone
