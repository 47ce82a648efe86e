// The folders of the methods beside LoRA. Every method of the variant Method that has a format (method_formats.hpp) is
// found by itself, by peft_type when reading and by what is inserted when writing.
#pragma once

#include <hone/io/atomic_folder.hpp>
#include <hone/io/base_hash.hpp>
#include <hone/peft/method_formats.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace hone {

namespace detail {

template <class Config>
concept HasFolder = requires {
  MethodFolder<Config>::peft_type;
};

/// f.operator()<Config>() for every method that has a folder, until one returns true.
template <class F>
bool any_method(F&& f) {
  return [&]<class... M>(std::variant<M...>*) {
    const auto ask = [&]<class One>() {
      if constexpr (requires { typename One::Config; }) {
        if constexpr (HasFolder<typename One::Config>) return f.template operator()<typename One::Config>();
      }
      return false;
    };
    return (ask.template operator()<M>() || ...);
  }(static_cast<Method*>(nullptr));
}

/// The peft_type of a folder's config; "adapters" for AdapterHub's, empty where it says neither.
inline std::string method_type(const nlohmann::json& json, const std::string& origin) {
  std::string type = find_string(json, "peft_type", origin).value_or("");
  const bool hub = type.empty() && find_string(json, "version", origin).value_or("").starts_with("adapters.");
  return hub ? "adapters" : type;
}

}  // namespace detail

/// What the folder of a model's method holds; nothing for a model without one, or with LoRA.
template <class Model>
std::optional<MethodContents<typename Model::DeviceType>> method_contents(Model& model) {
  std::optional<MethodContents<typename Model::DeviceType>> out;
  detail::any_method([&]<class Config>() {
    auto contents = MethodFolder<Config>::contents(model);
    if (contents.tensors.empty()) return false;
    out = std::move(contents);
    return true;
  });
  return out;
}

/// The hash of the folder `base_model`, or of the one a model was loaded from; nothing where there is none.
template <class Model>
std::optional<BaseHash> base_hash_of(const Model& model, const std::string& base_model) {
  if (auto named = find_hash_of_base(base_model)) return named;
  if constexpr (requires { model.folder(); }) return find_hash_of_base(model.folder());
  return std::nullopt;
}

/// Writes the folder of a model's method; false where method_contents() has none. The folder appears complete or not at
/// all.
template <class Model>
bool save_method(Model& model, const std::filesystem::path& folder, const std::string& base_model = {}) {
  auto contents = method_contents(model);
  if (!contents) return false;
  std::size_t trained = 0;
  model.visit_adapters([&](const std::string&, const auto&) { ++trained; });
  check(contents->tensors.size() == trained || contents->tensors.size() == trained + 1,
        "[adapter] the model has adapters of several methods: {} weights, of which one folder can hold {}", trained,
        contents->tensors.size());
  const char* base_key = contents->stem == "adapter" ? "model_name" : "base_model_name_or_path";
  if (!base_model.empty()) contents->config[base_key] = base_model;
  if (const auto kept = model.kept_keys.find("default"); kept != model.kept_keys.end())
    contents->config.update(parse_json(kept->second, "adapter_config.json"), true);
  check_replaceable(folder);
  AtomicFolder target(folder);
  write_file(target.path() / "adapter_config.json", contents->config.dump(2) + "\n");
  write_weights(contents->tensors, target.path(), {.stem = contents->stem});
  if (const auto base = base_hash_of(model, base_model)) write_base_hash(target.path(), *base);
  target.commit();
  return true;
}

/// Attaches the adapter of a folder by its method and loads its weights; false where the folder is LoRA's or of no
/// method known here. A tensor without a place and one of another shape are Errors.
template <class Model>
bool load_method(Model& model, const std::filesystem::path& folder) {
  const auto path = folder / "adapter_config.json";
  const auto json = read_json_file(path);
  const std::string origin = path.string();
  const std::string type = detail::method_type(json, origin);
  return detail::any_method([&]<class Config>() {
    if (MethodFolder<Config>::peft_type != type) return false;
    const TensorFiles files(folder, type == "adapters" ? "adapter" : "adapter_model");
    MethodFolder<Config>::load(model, json, origin, files);
    return true;
  });
}

/// Reads back what save_method wrote into a model of the same make; false where it has no such method.
template <class Model>
bool reload_method(Model& model, const std::filesystem::path& folder) {
  const auto contents = method_contents(model);
  if (!contents) return false;
  detail::read_named(TensorFiles(folder, contents->stem), contents->tensors);
  return true;
}

}  // namespace hone
