// Adapters as PEFT folders.
#pragma once

#include <hone/io/adapter_files.hpp>
#include <hone/io/atomic_folder.hpp>
#include <hone/nn/weights_io.hpp>
#include <hone/peft/lora.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hone {

namespace detail {

/// f(module path, LoRA bypass) for every LoRA of the model; another kind of adapter is an Error.
template <class Model, class F>
void visit_loras(Model& model, F&& f) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    for (const Bypass<T, D>& bypass : linear.bypasses(part)) {
      auto* lora = bypass.template get_if<LoraBypass<T, D>>();
      check(lora != nullptr, "[adapter] the bypass beside {} has no PEFT format", path);
      f(path, *lora);
    }
  });
}

/// "q_proj" of "model.layers.0.self_attn.q_proj".
inline std::string last_component(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// Enters one LoRA into a folder's config: the first one's numbers stand for all, other ranks and alphas are patterns
/// over them. Their keys leave out the first component ("layers.0..."): older PEFT versions want a dot before a key.
inline void describe(const LoRA& lora, const std::string& path, bool first, AdapterConfig& config) {
  if (first) {
    config.r = lora.r;
    config.lora_alpha = lora.alpha;
    config.lora_dropout = lora.dropout;
    config.use_rslora = lora.use_rslora;
  }
  check(lora.dropout == config.lora_dropout && lora.use_rslora == config.use_rslora,
        "[adapter] {} has another dropout or scaling than the adapters before it: they cannot share one folder", path);
  const std::string key = path.substr(path.find('.') + 1);
  if (lora.r != config.r) config.rank_pattern[key] = lora.r;
  if (lora.alpha != config.lora_alpha) config.alpha_pattern[key] = lora.alpha;
}

}  // namespace detail

/// Whether adapters are attached to a model.
template <class Model>
bool has_adapters(Model& model) {
  bool found = false;
  model.visit_adapters([&](const std::string&, auto&) { found = true; });
  return found;
}

/// Writes the adapters as a folder PEFT loads: adapter_config.json with the keys every PEFT version knows, and
/// adapter_model.safetensors in float. The folder appears complete or not at all.
template <class Model>
void save_adapter(Model& model, const std::filesystem::path& folder, const std::string& base_model = {}) {
  AdapterConfig config;
  std::set<std::string> names;
  NamedTensors<typename Model::DeviceType> tensors;
  detail::visit_loras(model, [&](const std::string& path, auto& lora) {
    detail::describe(lora.config(), path, tensors.empty(), config);
    const std::string a_name = adapter_tensor_name({path, "lora_A"});
    check(tensors.empty() || tensors[tensors.size() - 2].name != a_name,
          "[adapter] {} has two adapters, a PEFT folder holds one", path);
    names.insert(detail::last_component(path));
    tensors.push_back({a_name, lora.a().detached()});
    tensors.push_back({adapter_tensor_name({path, "lora_B"}), lora.b().detached()});
  });
  check(!tensors.empty(), "[adapter] the model has no adapter to save");
  config.target_modules.assign(names.begin(), names.end());
  // A name that picks more modules than have an adapter would make PEFT attach too many: full paths say it exactly.
  std::size_t picked = 0;
  model.visit_linears([&](const std::string& path, auto&, std::size_t) {
    picked += names.contains(detail::last_component(path)) ? 1u : 0u;
  });
  if (picked * 2 != tensors.size()) {
    config.target_modules.clear();
    detail::visit_loras(model, [&](const std::string& path, auto&) { config.target_modules.push_back(path); });
  }
  if (!base_model.empty()) config.base_model_name_or_path = base_model;
  check_replaceable(folder);
  AtomicFolder target(folder);
  write_adapter_config(target.path(), config);
  write_weights(tensors, target.path(), {.stem = "adapter_model"});
  target.commit();
}

/// Attaches the adapter of a PEFT folder to a model and loads its weights; the base is frozen. Which modules it sits on
/// is read from the weights themselves. A tensor without a place, one of the wrong shape and a half pair are Errors.
template <class Model>
void load_adapter(Model& model, const std::filesystem::path& folder) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  const auto config = read_adapter_config(folder);
  refuse_unsupported(config, (folder / "adapter_config.json").string());
  const TensorFiles files(folder, "adapter_model");
  std::map<std::string, std::string> names;  // "<module>.lora_A" -> tensor name in the file
  for (const std::string& name : files.names()) {
    const auto key = parse_adapter_tensor_name(name);
    check(key.has_value() && (key->part == "lora_A" || key->part == "lora_B"),
          "[{}] tensor '{}' is not a LoRA weight of a linear", files.origin(name), name);
    names[key->module + "." + key->part] = name;
  }
  model.set_base_trainable(false);
  std::size_t placed = 0;
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    const auto a = names.find(path + ".lora_A"), b = names.find(path + ".lora_B");
    if (a == names.end() && b == names.end()) return;
    check(a != names.end() && b != names.end(), "[{}] {} has only one of lora_A and lora_B", folder.string(), path);
    const std::int64_t rank = adapter_rank(config, path);
    const double scale = adapter_scale(config, path);
    const double root = config.use_rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank);
    const auto& weight = linear.part(part).weight;
    const LoRA lora{.r = rank, .alpha = scale * root, .dropout = config.lora_dropout, .use_rslora = config.use_rslora};
    LoraBypass<T, D> bypass(lora, weight.device(), weight.extent(1), weight.extent(0), path);
    detail::read_tensor(files, a->second, bypass.a());
    detail::read_tensor(files, b->second, bypass.b());
    linear.bypasses(part).emplace_back(std::move(bypass));
    placed += 2;
  });
  check(placed == names.size(), "[{}] {} of its {} tensors sit on modules this model does not have", folder.string(),
        names.size() - placed, names.size());
}

}  // namespace hone
