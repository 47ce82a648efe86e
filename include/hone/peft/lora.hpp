// LoRA (Hu et al., 2021): y += (alpha / r) dropout(x) A^T B^T beside chosen linears of a frozen base.
#pragma once

#include <hone/peft/lora_embedding.hpp>
#include <hone/peft/lora_stack.hpp>
#include <hone/peft/targets.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

namespace detail {

/// The parts of one linear that are to get LoRAs.
template <class T, Device D>
struct PickedLinear {
  Linear<T, D>* linear = nullptr;
  std::vector<LoraSpec> specs;
};

/// What spec_of(path, linear, part), an optional<LoRA>, says of every part, gathered by linear in the model's order.
template <class Model, class SpecOf>
auto pick_linears(Model& model, SpecOf&& spec_of) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  std::vector<PickedLinear<T, D>> out;
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    auto config = spec_of(path);
    if (!config) return;
    if (out.empty() || out.back().linear != &linear) out.push_back({&linear, {}});
    out.back().specs.push_back({part, path, std::move(*config)});
  });
  return out;
}

/// Puts one stack beside the picked parts of a linear.
template <class T, Device D>
std::shared_ptr<LoraStack<T, D>> put_beside(const PickedLinear<T, D>& picked,
                                            const std::shared_ptr<AdapterSwitch>& adapter, bool trains = true) {
  auto stack = std::make_shared<LoraStack<T, D>>(*picked.linear, picked.specs, adapter, trains);
  for (std::size_t i = 0; i < picked.specs.size(); ++i)
    picked.linear->bypasses(picked.specs[i].part).emplace_back(LoraBypass<T, D>(stack, i));
  return stack;
}

/// "model.norm" of "model.norm.weight".
inline std::string module_of(const std::string& weight) { return weight.substr(0, weight.rfind('.')); }

/// f(weight of the base) for all that modules_to_save names.
template <class Model, class F>
void visit_saved(Model& model, const std::vector<std::string>& modules_to_save, F&& f) {
  model.visit([&](const std::string& name, auto& weight) {
    const auto names_it = [&](const std::string& entry) { return saves(entry, module_of(name)); };
    if (std::any_of(modules_to_save.begin(), modules_to_save.end(), names_it)) f(weight);
  });
}

/// f(table) for the table of embeddings.
template <class Model, class F>
void visit_embeddings(Model& model, F&& f) {
  model.visit([&](const std::string& name, auto& weight) {
    if (module_of(name) == embedding_path) f(weight);
  });
}

/// Puts a LoRA beside the embeddings.
template <class Model>
auto put_beside_embeddings(Model& model, const LoRA& config, const std::shared_ptr<AdapterSwitch>& adapter) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  check(!config.use_dora, "[lora] use_dora is not supported on embeddings; leave embed_tokens out or train it whole");
  visit_embeddings(model, [&](const auto& table) {
    model.lookup_bypasses().emplace_back(
        LoraEmbedding<T, D>(config, model.device(), table.extent(0), table.extent(1), adapter));
  });
  return model.lookup_bypasses().back().template get_if<LoraEmbedding<T, D>>();
}

/// Throws when an entry of the config's lists picks no linear of the model.
template <class Model>
void check_targets(Model& model, const std::vector<std::string>& target_modules, const LoRA& config) {
  std::vector<std::string> paths;
  model.visit_linears([&](const std::string& path, auto&, std::size_t) { paths.push_back(path); });
  paths.push_back(embedding_path);
  const auto used = [&](const auto& matches) { return std::any_of(paths.begin(), paths.end(), matches); };
  for (const std::string& entry : target_modules)
    if (!used([&](const std::string& path) { return targets(entry, path); }))
      fail_to_match("lora", "target_modules", entry, paths);
  for (const std::string& entry : config.exclude_modules)
    if (!used([&](const std::string& path) { return targets(entry, path); }))
      fail_to_match("lora", "exclude_modules", entry, paths);
  const auto check_keys = [&](std::string_view list, const auto& patterns) {
    for (const auto& pattern : patterns)
      if (!used([&](const std::string& path) { return matches_module(pattern.first, path); }))
        fail_to_match("lora", list, pattern.first, paths);
  };
  check_keys("rank_pattern", config.rank_pattern);
  check_keys("alpha_pattern", config.alpha_pattern);
  for (const std::string& entry : config.modules_to_save) {
    bool found = false;
    std::vector<std::string> modules;
    model.visit([&](const std::string& name, auto&) {
      modules.push_back(module_of(name));
      found = found || saves(entry, modules.back());
    });
    if (!found) fail_to_match("lora", "modules_to_save", entry, modules);
    const bool tied = std::ranges::count(modules, std::string("lm_head")) == 0;
    check(!tied || !saves(entry, "model.embed_tokens"),
          "[lora] modules_to_save: '{}' of a model whose output projection is tied to its embeddings: PEFT would train "
          "one and leave the other, which needs a model that is not tied",
          entry);
  }
  if (config.layers_to_transform.empty()) return;
  for (const std::int64_t layer : config.layers_to_transform)
    check(used([&](const std::string& path) { return layer_of(path, config.layers_pattern) == layer; }),
          "[lora] layers_to_transform: there is no layer {} in this model", layer);
}

}  // namespace detail

/// Freezes the base, but for modules_to_save, and puts `config` beside every linear that `target_modules` picks, under
/// the name that `adapter` has. Returns the picked paths. Throws when an entry picks nothing. The weights of the base
/// must be there: DoRA starts from their norms.
template <class Model>
std::vector<std::string> attach(Model& model, const std::vector<std::string>& target_modules, const LoRA& config,
                                std::shared_ptr<AdapterSwitch> adapter = std::make_shared<AdapterSwitch>(),
                                GradientPrecision precision = GradientPrecision::same) {
  config.validate();
  detail::check_targets(model, target_modules, config);  // before anything is changed
  const auto picked = detail::pick_linears(model, [&](const std::string& path) {
    return picks(target_modules, config, path) ? std::optional(config.resolved(path)) : std::nullopt;
  });
  const bool embeddings = picks_embedding(target_modules, config, embedding_path);
  check(!picked.empty() || embeddings, "[lora] target_modules and what is excluded leave no linear to adapt");
  std::vector<std::string> paths;
  model.set_base_trainable(false);
  detail::visit_saved(model, config.modules_to_save, [&](auto& weight) { make_trainable(weight, precision); });
  if (embeddings) {
    detail::put_beside_embeddings(model, config.resolved(embedding_path), adapter);
    paths.push_back(embedding_path);
  }
  for (const auto& one : picked) {
    detail::put_beside(one, adapter);
    for (const LoraSpec& spec : one.specs) paths.push_back(spec.path);
  }
  return paths;
}

/// The same for one glob: `attach(model, "*.{q,v}_proj", LoRA{.r = 8, .alpha = 16})`.
template <class Model>
std::vector<std::string> attach(Model& model, const std::string& target_modules, const LoRA& config) {
  return attach(model, std::vector<std::string>{target_modules}, config);
}

}  // namespace hone
