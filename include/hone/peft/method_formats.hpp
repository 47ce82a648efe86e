// What stands in the folders of the methods beside LoRA, each in its own library's format: IA3, prompt and prefix
// tuning as PEFT writes them, bottlenecks as AdapterHub does. BitFit, which neither has, is written like IA3.
#pragma once

#include <hone/io/adapter_files.hpp>
#include <hone/nn/weights_io.hpp>
#include <hone/peft/method.hpp>

#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

/// What a folder holds: adapter_config.json and one file of tensors.
template <Device D>
struct MethodContents {
  nlohmann::json config;
  NamedTensors<D> tensors;
  std::string stem = "adapter_model";  ///< of the file
};

/// How a method's folder is written and read; defined for each that has one.
template <class Config>
struct MethodFolder {};

namespace detail {

/// The bypass of type F with its path, for all there are; `f(path, bypass)`.
template <class F, class Model, class Visit>
void visit_bypasses_of(Model& model, Visit&& visit) {
  model.visit_bypasses([&](const std::string& path, Insertion, const auto& bypass) {
    if (auto* found = bypass.template get_if<F>()) visit(path, *found);
  });
}

/// Adds the weights of a bypass as they are; `named(name)` is what one is called in the file.
template <Device D, class Bypass, class Named>
void add_weights(MethodContents<D>& out, Bypass& bypass, Named&& named) {
  bypass.visit([&](const std::string& name, auto weight) {
    std::visit([&](auto* tensor) { out.tensors.push_back({named(name), tensor->detached()}); }, weight);
  });
}

/// The keys that every PEFT config has.
inline nlohmann::json peft_config(std::string_view peft_type) {
  return {{"peft_type", peft_type}, {"task_type", "CAUSAL_LM"}, {"base_model_name_or_path", nullptr},
          {"revision", nullptr},    {"inference_mode", true},   {"modules_to_save", nullptr}};
}

inline std::vector<std::string> string_list(const nlohmann::json& json, const std::string& key,
                                            const std::string& origin) {
  std::vector<std::string> out;
  if (find_key(json, key, origin) == nullptr) return out;
  for (const auto& item : get_array(json, key, origin)) out.push_back(json_string(item, key, origin));
  return out;
}

/// Throws where a feature is on that hone does not apply.
inline void refuse_feature(const nlohmann::json& json, const char* key, const std::string& origin) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null() || *found == false) return;
  check((found->is_structured() && found->empty()) || (found->is_number() && *found == 0), "[{}] {} is not supported",
        origin, key);
}

/// Reads `tensors` from the file; every tensor of the file must be among them.
template <Device D>
void read_named(const TensorFiles& files, const NamedTensors<D>& tensors) {
  std::set<std::string> wanted;
  for (const auto& tensor : tensors) {
    std::visit([&](const auto& value) { read_tensor(files, tensor.name, value); }, tensor.value);
    wanted.insert(tensor.name);
  }
  for (const std::string& name : files.names())
    check(wanted.contains(name), "[{}] tensor '{}' has no place in this model: the adapter belongs to another base",
          files.origin(name), name);
}

/// What a PEFT folder says about the geometry of the base of virtual tokens.
inline void add_geometry(nlohmann::json& config, std::int64_t tokens, std::int64_t token_dim, std::int64_t layers,
                         std::int64_t heads) {
  config.update({{"num_virtual_tokens", tokens},
                 {"token_dim", token_dim},
                 {"num_transformer_submodules", 1},
                 {"num_attention_heads", heads},
                 {"num_layers", layers}});
}

}  // namespace detail

template <>
struct MethodFolder<IA3> {
  static constexpr std::string_view peft_type = "IA3";

  /// Vectors stand as (out, 1), and as (1, in) where they scale the input.
  template <class Model>
  static auto contents(Model& model) {
    using T = typename Model::Element;
    using D = typename Model::DeviceType;
    MethodContents<D> out{detail::peft_config(peft_type), {}};
    std::vector<std::string> targets, inputs;
    const auto add = [&](const std::string& path, auto& bypass, bool input) {
      targets.push_back(path);
      if (input) inputs.push_back(path);
      bypass.visit([&](const std::string& name, auto weight) {
        std::visit(
            [&](auto* l) {
              const Shape shape = input ? Shape{1, l->extent(0)} : Shape{l->extent(0), 1};
              out.tensors.push_back({"base_model.model." + path + "." + name, l->viewed_as(shape)});
            },
            weight);
      });
    };
    detail::visit_bypasses_of<Ia3Bypass<T, D>>(model, [&](const auto& path, auto& b) { add(path, b, false); });
    detail::visit_bypasses_of<Ia3InputBypass<T, D>>(model, [&](const auto& path, auto& b) { add(path, b, true); });
    out.config.update({{"target_modules", targets},
                       {"feedforward_modules", inputs},
                       {"fan_in_fan_out", false},
                       {"init_ia3_weights", true}});
    return out;
  }
  template <class Model>
  static void load(Model& model, const nlohmann::json& json, const std::string& origin, const TensorFiles& files) {
    detail::refuse_feature(json, "fan_in_fan_out", origin);
    detail::refuse_feature(json, "modules_to_save", origin);
    // Where it sits is read from the tensors: a (1, in) scales an input.
    IA3 config{{}, {}};
    for (const std::string& name : files.names()) {
      const std::string_view prefix = "base_model.model.", suffix = ".ia3_l";
      check(name.starts_with(prefix) && name.ends_with(suffix) && files.shape(name).rank() == 2,
            "[{}] tensor '{}' is not a vector of IA3", files.origin(name), name);
      const std::string path = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
      config.target_modules.push_back(path);
      if (files.shape(name)[0] == 1) config.feedforward_modules.push_back(path);
    }
    attach(model, config);
    detail::read_named(files, contents(model).tensors);
  }
};

template <>
struct MethodFolder<BitFit> {
  static constexpr std::string_view peft_type = "BITFIT";

  template <class Model>
  static auto contents(Model& model) {
    using T = typename Model::Element;
    using D = typename Model::DeviceType;
    MethodContents<D> out{detail::peft_config(peft_type), {}};
    std::vector<std::string> targets;
    detail::visit_bypasses_of<BitFitBypass<T, D>>(model, [&](const std::string& path, auto& bypass) {
      targets.push_back(path);
      detail::add_weights(out, bypass,
                          [&](const std::string& name) { return "base_model.model." + path + "." + name; });
    });
    out.config["target_modules"] = targets;
    return out;
  }
  template <class Model>
  static void load(Model& model, const nlohmann::json&, const std::string&, const TensorFiles& files) {
    attach(model, BitFit{});
    detail::read_named(files, contents(model).tensors);
  }
};

template <>
struct MethodFolder<PromptTuning> {
  static constexpr std::string_view peft_type = "PROMPT_TUNING";

  template <class Model>
  static auto contents(Model& model) {
    using T = typename Model::Element;
    using D = typename Model::DeviceType;
    MethodContents<D> out{detail::peft_config(peft_type), {}};
    detail::visit_bypasses_of<PromptBypass<T, D>>(model, [&](const std::string&, auto& bypass) {
      out.tensors.push_back({"prompt_embeddings", bypass.rows().detached()});
    });
    const auto& shape = model.config();
    detail::add_geometry(out.config, model.virtual_tokens(), shape.hidden_size, shape.num_hidden_layers,
                         shape.num_attention_heads);
    // How it began is not needed any more, and TEXT would ask for a tokenizer.
    out.config.update(
        {{"prompt_tuning_init", "RANDOM"}, {"prompt_tuning_init_text", nullptr}, {"tokenizer_name_or_path", nullptr}});
    return out;
  }
  template <class Model>
  static void load(Model& model, const nlohmann::json& json, const std::string& origin, const TensorFiles& files) {
    attach(model, PromptTuning{.num_virtual_tokens = get_int(json, "num_virtual_tokens", origin, 1)});
    detail::read_named(files, contents(model).tensors);
  }
};

template <>
struct MethodFolder<PrefixTuning> {
  static constexpr std::string_view peft_type = "PREFIX_TUNING";

  /// Keys and values as they are used; of a reparametrised prefix also what makes them, which PEFT neither writes nor
  /// reads, but without which its training could not go on.
  template <class Model>
  static auto contents(Model& model) {
    using T = typename Model::Element;
    using D = typename Model::DeviceType;
    const no_grad guard;
    MethodContents<D> out{detail::peft_config(peft_type), {}};
    const auto& shape = model.config();
    const std::int64_t width = shape.num_key_value_heads * shape.head_dim;
    detail::add_geometry(out.config, model.virtual_tokens(), width, shape.num_hidden_layers, shape.num_key_value_heads);
    detail::visit_bypasses_of<PrefixBypass<T, D>>(model, [&](const std::string&, auto& bypass) {
      const PrefixTuning& config = bypass.config();
      out.tensors.push_back({"prompt_embeddings", bypass.rows().detached()});
      const std::int64_t inner = config.encoder_hidden_size > 0 ? config.encoder_hidden_size : width;
      out.config.update({{"prefix_projection", config.prefix_projection}, {"encoder_hidden_size", inner}});
      if (config.prefix_projection) detail::add_weights(out, bypass, [](const std::string& name) { return name; });
    });
    return out;
  }
  template <class Model>
  static void load(Model& model, const nlohmann::json& json, const std::string& origin, const TensorFiles& files) {
    PrefixTuning config{.num_virtual_tokens = get_int(json, "num_virtual_tokens", origin, 1)};
    // Without its MLP, as PEFT writes it, a reparametrised prefix is one of plain keys and values.
    config.prefix_projection = files.contains("prompt_encoder.embedding.weight");
    if (config.prefix_projection) config.encoder_hidden_size = get_int(json, "encoder_hidden_size", origin, 1);
    attach(model, config);
    detail::read_named(files, contents(model).tensors);
  }
};

template <>
struct MethodFolder<Bottleneck> {
  static constexpr std::string_view peft_type = "adapters";  // not PEFT's: what AdapterHub's version begins with

  template <class Model>
  static auto contents(Model& model) {
    using T = typename Model::Element;
    using D = typename Model::DeviceType;
    MethodContents<D> out{nlohmann::json::object(), {}, "adapter"};
    std::optional<Bottleneck> config;
    detail::visit_bypasses_of<BottleneckBypass<T, D>>(model, [&](const std::string& path, auto& bypass) {
      config = bypass.config();
      detail::add_weights(out, bypass, [&](const std::string& name) { return path + ".adapters.default." + name; });
    });
    const std::int64_t hidden = model.config().hidden_size;
    if (config) out.config["config"] = describe(*config, hidden);
    out.config.update({{"hidden_size", hidden},
                       {"model_class", model.config().architectures.front()},
                       {"model_type", model.config().model_type},
                       {"model_name", nullptr},
                       {"name", "default"},
                       {"version", "adapters.1.3.0"}});
    return out;
  }
  template <class Model>
  static void load(Model& model, const nlohmann::json& json, const std::string& origin, const TensorFiles& files) {
    attach(model, read(get_object(json, "config", origin), origin));
    auto tensors = contents(model).tensors;
    const auto name = find_string(json, "name", origin).value_or("default");
    for (auto& tensor : tensors) {
      const std::string_view ours = ".adapters.default.";
      tensor.name.replace(tensor.name.find(ours), ours.size(), ".adapters." + name + ".");
    }
    detail::read_named(files, tensors);
  }

 private:
  static nlohmann::json describe(const Bottleneck& config, std::int64_t hidden) {
    // AdapterHub forms the size as int(hidden // reduction_factor).
    const std::int64_t size = config.bottleneck_size(hidden);
    double factor = static_cast<double>(hidden) / static_cast<double>(size);
    while (std::floor(static_cast<double>(hidden) / factor) < static_cast<double>(size))
      factor = std::nextafter(factor, 0.0);
    return {{"mh_adapter", config.mh_adapter},
            {"output_adapter", config.output_adapter},
            {"reduction_factor", detail::shortest_number(factor)},
            {"non_linearity", name_of(config.non_linearity)},
            {"original_ln_before", config.original_ln_before},
            {"original_ln_after", true},
            {"residual_before_ln", true},
            {"adapter_residual_before_ln", false},
            {"ln_before", false},
            {"ln_after", false},
            {"is_parallel", config.is_parallel},
            {"scaling", config.scaling},
            {"init_weights", "mam_adapter"}};
  }
  static Bottleneck read(const nlohmann::json& json, const std::string& origin) {
    for (const char* key : {"phm_layer", "use_gating", "ln_before", "ln_after", "inv_adapter", "leave_out",
                            "adapter_residual_before_ln", "stochastic_depth", "dropout", "cross_adapter"})
      detail::refuse_feature(json, key, origin);
    const auto flag = [&](const char* key, bool fallback) { return find_bool(json, key, origin).value_or(fallback); };
    Bottleneck out;
    out.mh_adapter = flag("mh_adapter", false);
    out.output_adapter = flag("output_adapter", true);
    out.original_ln_before = flag("original_ln_before", false);
    out.is_parallel = flag("is_parallel", false);
    check(flag("original_ln_after", true), "[{}] original_ln_after false is not supported", origin);
    check(out.is_parallel || flag("residual_before_ln", true), "[{}] residual_before_ln false is not supported",
          origin);
    out.reduction_factor = get_double(json, "reduction_factor", origin, 1e-6);
    out.scaling = find_double(json, "scaling", origin).value_or(1.0);
    out.non_linearity = activation_named(get_string(json, "non_linearity", origin), origin);
    return out;
  }
};

}  // namespace hone
