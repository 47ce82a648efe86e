// Adapters as PEFT folders.
#pragma once

#include <hone/io/adapter_files.hpp>
#include <hone/io/atomic_folder.hpp>
#include <hone/nn/weights_io.hpp>
#include <hone/peft/adapter_notes.hpp>
#include <hone/peft/lora.hpp>
#include <hone/peft/method_folders.hpp>
#include <hone/peft/stacked_lora.hpp>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// What a folder holds.
template <Device D>
struct AdapterContents {
  AdapterConfig config;
  NamedTensors<D> tensors;
  std::function<void()> finish = [] {};  ///< to be called when `tensors` have been read anew: some are copies
};

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
    config.use_dora = lora.use_dora;
  }
  check(lora.dropout == config.lora_dropout && lora.use_rslora == config.use_rslora && lora.use_dora == config.use_dora,
        "[adapter] {} has another dropout or scaling than the adapters before it: they cannot share one folder", path);
  const std::string key = path.substr(path.find('.') + 1);
  if (lora.r != config.r) config.rank_pattern.emplace_back(key, lora.r);
  if (lora.alpha != config.lora_alpha) config.alpha_pattern.emplace_back(key, lora.alpha);
}

/// target_modules: names where they say it all, full paths where a name picks more modules than have an adapter.
template <class Model>
std::vector<std::string> target_modules_of(Model& model, const std::vector<std::string>& paths) {
  std::set<std::string> names;
  for (const std::string& path : paths) names.insert(last_component(path));
  std::size_t picked = 0;
  model.visit_linears(
      [&](const std::string& path, auto&, std::size_t) { picked += names.contains(last_component(path)) ? 1u : 0u; });
  if (picked != paths.size()) return paths;
  return {names.begin(), names.end()};
}

/// The LoRAs called `name`, and the base's weights that train with them.
template <class Model>
AdapterContents<typename Model::DeviceType> lora_contents(Model& model, const std::string& name) {
  AdapterContents<typename Model::DeviceType> out;
  std::vector<std::string> paths;
  visit_loras(model, [&](const std::string& path, auto& lora) {
    if (lora.adapter().name != name) return;
    describe(lora.config(), path, paths.empty(), out.config);
    check(paths.empty() || paths.back() != path, "[adapter] {} has two adapters, a PEFT folder holds one", path);
    paths.push_back(path);
    out.tensors.push_back({adapter_tensor_name({path, "lora_A"}), lora.a().detached()});
    out.tensors.push_back({adapter_tensor_name({path, "lora_B"}), lora.b().detached()});
    if (lora.magnitude().defined())
      out.tensors.push_back({adapter_tensor_name({path, "lora_magnitude_vector"}), lora.magnitude().detached()});
  });
  out.config.target_modules = target_modules_of(model, paths);
  for (const auto& bypass : model.lookup_bypasses()) {
    using T = typename Model::Element;
    using D = typename Model::DeviceType;
    auto* lora = bypass.template get_if<LoraEmbedding<T, D>>();
    check(lora != nullptr, "[adapter] the bypass beside {} has no PEFT format", embedding_path);
    if (lora->adapter().name != name) continue;
    describe(lora->config(), embedding_path, paths.empty(), out.config);
    paths.push_back(embedding_path);
    out.config.target_modules.push_back(last_component(embedding_path));
    // The file has A the other way round; what is read into the copy goes back by finish().
    auto copy = Tensor<AdapterElement<T>, D>::empty(model.device(), {lora->a().extent(1), lora->a().extent(0)},
                                                    {Category::workspace, "lora_embedding_A"});
    if (copy.data() != nullptr) copy.copy_from(lora->a_of_file());
    out.tensors.push_back({adapter_tensor_name({embedding_path, "lora_embedding_A"}), copy});
    out.tensors.push_back({adapter_tensor_name({embedding_path, "lora_embedding_B"}), lora->b().detached()});
    out.finish = [lora, copy] { lora->set_a_of_file(copy.to_vector()); };
  }
  std::set<std::string> saved;
  model.visit([&](const std::string& weight, const auto& tensor) {
    if (!tensor.requires_grad()) return;
    saved.insert(module_of(weight));
    out.tensors.push_back({"base_model.model." + weight, tensor.detached()});
  });
  out.config.modules_to_save.assign(saved.begin(), saved.end());
  return out;
}

/// The tensors of a LoRA folder: "<module>.<part>" and, of modules in modules_to_save, "<weight>" to their names there.
struct LoraTensors {
  std::map<std::string, std::string> adapters, saved;
};

inline LoraTensors lora_tensors(const TensorFiles& files, const AdapterConfig& config) {
  constexpr std::string_view prefix = "base_model.model.", of_base = ".base_layer.weight";
  LoraTensors out;
  for (const std::string& name : files.names()) {
    if (const auto key = parse_adapter_tensor_name(name)) {
      out.adapters[key->module + "." + key->part] = name;
      continue;
    }
    std::string weight = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    // PEFT saves the base of an embedding beside its LoRA, and embeddings of a vocabulary that has grown.
    if (weight.ends_with(of_base)) weight.replace(weight.size() - of_base.size(), of_base.size(), ".weight");
    const std::string module = module_of(weight);
    const auto names_it = [&](const std::string& entry) { return saves(entry, module); };
    check(weight.ends_with("embed_tokens.weight") || weight == "lm_head.weight" ||
              std::any_of(config.modules_to_save.begin(), config.modules_to_save.end(), names_it),
          "[{}] tensor '{}' is neither a LoRA weight nor one of a module that modules_to_save names",
          files.origin(name), name);
    out.saved[weight] = name;
  }
  return out;
}

/// The adapters below the one called `name`: frozen ones that act, where it trains itself.
template <class Model>
std::vector<std::string> stacked_below(Model& model, const std::string& name) {
  std::vector<std::string> out;
  bool trains = false;
  visit_loras(model, [&](const std::string&, auto& lora) {
    const std::string& other = lora.adapter().name;
    if (other == name) trains = trains || lora.a().requires_grad();
    if (other == name || !lora.adapter().active || lora.a().requires_grad()) return;
    if (std::ranges::count(out, other) == 0) out.push_back(other);
  });
  return trains ? out : std::vector<std::string>{};
}

/// Throws for the first of `names` without a place in the model, with the nearest that has one.
inline void check_placed(const std::filesystem::path& folder, const std::set<std::string>& names,
                         const std::set<std::string>& placed, const std::vector<std::string>& modules) {
  std::size_t missing = 0;
  const std::string* first = nullptr;
  for (const std::string& name : names)
    if (!placed.contains(name) && ++missing == 1) first = &name;
  check(missing == 0,
        "[{}] {} of its {} tensors sit on modules this model does not have, '{}' the first of them (nearest: {}): the "
        "adapter belongs to another base",
        folder.string(), missing, names.size(), first == nullptr ? "" : *first,
        join_or(nearest_names(first == nullptr ? "" : module_of(*first), modules, 2)));
}

/// The LoRA that a folder puts on one module.
inline LoRA lora_of(const AdapterConfig& config, const std::string& path) {
  return {.r = adapter_rank(config, path),
          .alpha = adapter_alpha(config, path),
          .dropout = config.lora_dropout,
          .use_rslora = config.use_rslora,
          .use_dora = config.use_dora};
}

/// Attaches a LoRA folder and loads its weights.
template <class Model>
void load_lora(Model& model, const std::filesystem::path& folder, const AdapterConfig& config,
               const std::shared_ptr<AdapterSwitch>& adapter) {
  const TensorFiles files(folder, "adapter_model");
  const LoraTensors names = lora_tensors(files, config);
  std::set<std::string> wanted, placed;
  for (const auto* some : {&names.adapters, &names.saved})
    for (const auto& [name, in_file] : *some) wanted.insert(name);
  std::vector<std::string> modules;
  const auto picked = pick_linears(model, [&](const std::string& path) -> std::optional<LoRA> {
    modules.push_back(path);
    const bool has_a = names.adapters.contains(path + ".lora_A"), has_b = names.adapters.contains(path + ".lora_B");
    if (!has_a && !has_b) return std::nullopt;
    check(has_a && has_b, "[{}] {} has only one of lora_A and lora_B", folder.string(), path);
    check(config.use_dora == names.adapters.contains(path + ".lora_magnitude_vector"),
          "[{}] use_dora is {}, but {} has {} lora_magnitude_vector", folder.string(), config.use_dora, path,
          config.use_dora ? "no" : "a");
    for (const char* part : {".lora_A", ".lora_B", ".lora_magnitude_vector"})
      if (names.adapters.contains(path + part)) placed.insert(path + part);
    return lora_of(config, path);
  });
  model.visit([&](const std::string& weight, const auto&) {
    if (names.saved.contains(weight)) placed.insert(weight);
  });
  const std::string lookup_a = embedding_path + ".lora_embedding_A", lookup_b = embedding_path + ".lora_embedding_B";
  const bool embeddings = names.adapters.contains(lookup_a) && names.adapters.contains(lookup_b);
  if (embeddings) placed.insert({lookup_a, lookup_b});
  check_placed(folder, wanted, placed, modules);  // before anything is changed
  model.visit([&](const std::string& weight, const auto& tensor) {
    if (const auto found = names.saved.find(weight); found != names.saved.end())
      check_shape(files, found->second, tensor.shape());
  });
  model.set_base_trainable(false);
  for (const auto& one : picked) {
    const auto stack = put_beside(one, adapter);
    for (std::size_t i = 0; i < one.specs.size(); ++i) {
      const std::string& path = one.specs[i].path;
      read_tensor(files, names.adapters.at(path + ".lora_A"), stack->a(i));
      read_tensor(files, names.adapters.at(path + ".lora_B"), stack->b(i));
      if (config.use_dora) read_tensor(files, names.adapters.at(path + ".lora_magnitude_vector"), stack->magnitude(i));
    }
  }
  if (embeddings) {
    using A = AdapterElement<typename Model::Element>;
    auto* lora = put_beside_embeddings(model, lora_of(config, embedding_path), adapter);
    const auto transposed = Tensor<A, typename Model::DeviceType>::empty(
        model.device(), {lora->a().extent(1), lora->a().extent(0)}, {Category::workspace, "lora_embedding_A"});
    read_tensor(files, names.adapters.at(lookup_a), transposed);
    lora->set_a_of_file(transposed.to_vector());
    read_tensor(files, names.adapters.at(lookup_b), lora->b());
  }
  model.visit([&](const std::string& weight, auto& tensor) {
    const auto found = names.saved.find(weight);
    if (found == names.saved.end()) return;
    read_tensor(files, found->second, tensor);
    const auto names_it = [&](const std::string& entry) { return saves(entry, module_of(weight)); };
    if (std::any_of(config.modules_to_save.begin(), config.modules_to_save.end(), names_it)) make_trainable(tensor);
  });
}

}  // namespace detail

/// The LoRA in a folder as a stage to be trained on top of: put_stacked() puts it on a model, read_stacked() reads its
/// weights. LoRAs on linears alone: DoRA, embeddings and whole modules change what lies below them.
inline StackedLora stacked_lora(const std::string& name, const std::filesystem::path& folder) {
  const auto config = read_adapter_config(folder);
  refuse_unsupported(config, (folder / "adapter_config.json").string());
  check(!config.use_dora, "[stack] '{}' is DoRA, whose scaling is not a sum: it cannot be trained on top of", name);
  const TensorFiles files(folder, "adapter_model");
  const auto names = detail::lora_tensors(files, config);
  check(names.saved.empty() && !names.adapters.contains(embedding_path + ".lora_embedding_A"),
        "[stack] '{}' changes embeddings or whole modules of the base: it cannot be trained on top of; merge it first",
        name);
  StackedLora out{name, {}};
  constexpr std::string_view suffix = ".lora_A";
  for (const auto& [key, in_file] : names.adapters) {
    if (!key.ends_with(suffix)) continue;
    const std::string path = key.substr(0, key.size() - suffix.size());
    out.modules.emplace_back(path, detail::lora_of(config, path));
  }
  check(!out.modules.empty(), "[{}] there is no LoRA in this folder", folder.string());
  check(names.adapters.size() == 2 * out.modules.size(),
        "[{}] a LoRA is a lora_A and a lora_B: {} tensors for {} of them", folder.string(), names.adapters.size(),
        out.modules.size());
  return out;
}

/// Reads the weights of a stage that put_stacked() has put on a model, whose base is the folder `base`. Returns what
/// should be known: another base than the stage's own, and stages that it was trained on and that are not there.
template <class Model>
AdapterNotes read_stacked(Model& model, const std::string& name, const std::filesystem::path& folder,
                          const std::filesystem::path& base) {
  const TensorFiles files(folder, "adapter_model");
  const auto names = detail::lora_tensors(files, read_adapter_config(folder));
  const auto read = [&](const std::string& key, auto& tensor) {
    const auto found = names.adapters.find(key);
    check(found != names.adapters.end(), "[{}] has no tensor for {}", folder.string(), key);
    detail::read_tensor(files, found->second, tensor);
  };
  detail::visit_loras(model, [&](const std::string& path, auto& lora) {
    if (lora.adapter().name != name) return;
    read(path + ".lora_A", lora.a());
    read(path + ".lora_B", lora.b());
  });
  AdapterNotes notes;
  detail::compare_bases(base, folder, notes);
  detail::compare_stacks(model, folder, notes);
  return notes;
}

/// Whether adapters are attached to a model.
template <class Model>
bool has_adapters(Model& model) {
  bool found = false;
  model.visit_adapters([&](const std::string&, auto&) { found = true; });
  return found;
}

/// What the folder of the adapter called `name` holds: its config, and its weights under their names in the file.
template <class Model>
AdapterContents<typename Model::DeviceType> adapter_contents(Model& model, const std::string& name = "default") {
  check(has_adapters(model), "[adapter] the model has no adapter to save");
  auto out = detail::lora_contents(model, name);
  check(!out.config.target_modules.empty(), "[adapter] the model has no adapter called '{}'", name);
  if (const auto kept = model.kept_keys.find(name); kept != model.kept_keys.end())
    out.config.other = parse_json(kept->second, "adapter_config.json");
  return out;
}

/// Writes the adapter called `name` as a folder PEFT loads: adapter_config.json with the keys every PEFT version knows
/// and those it was loaded with, and adapter_model.safetensors; beside them hone_adapter.json with a hash of the base,
/// where the base is a folder. The folder appears complete or not at all.
template <class Model>
void save_adapter(Model& model, const std::filesystem::path& folder, const std::string& base_model = {},
                  const std::string& name = "default") {
  if (save_method(model, folder, base_model)) return;  // another method than LoRA
  auto contents = adapter_contents(model, name);
  if (!base_model.empty()) contents.config.base_model_name_or_path = base_model;
  check_replaceable(folder);
  AtomicFolder target(folder);
  write_adapter_config(target.path(), contents.config);
  write_weights(contents.tensors, target.path(), {.stem = "adapter_model"});
  if (const auto base = base_hash_of(model, base_model))
    write_base_hash(target.path(), *base, detail::stacked_below(model, name));
  target.commit();
}

/// Attaches the adapter of a PEFT folder to a model and loads its weights; the base is frozen, but for the modules that
/// the adapter saves whole. Which modules it sits on is read from the weights themselves. A tensor without a place, one
/// of the wrong shape and a half pair are Errors. Returns what is no Error and should be known: keys without a meaning
/// here, and a base that is not the one the adapter was trained on.
template <class Model>
AdapterNotes load_adapter(Model& model, const std::filesystem::path& folder,
                          const std::shared_ptr<AdapterSwitch>& adapter = std::make_shared<AdapterSwitch>()) {
  const std::string origin = (folder / "adapter_config.json").string();
  const auto json = read_json_file(folder / "adapter_config.json");
  detail::check_known_type(json, origin);
  detail::UnknownKeys unknown;
  if (load_method(model, folder)) {
    unknown = detail::unknown_keys(json, method_contents(model)->config);
  } else {
    const auto config = read_adapter_config(folder);
    refuse_unsupported(config, origin);
    detail::load_lora(model, folder, config, adapter);
    unknown = detail::unknown_keys(config.other, nlohmann::json::object());
  }
  AdapterNotes notes;
  detail::keep_unknown_keys(model, unknown, origin, adapter->name, notes);
  if constexpr (requires { model.folder(); }) detail::compare_bases(model.folder(), folder, notes);
  detail::compare_stacks(model, folder, notes);
  return notes;
}

}  // namespace hone
