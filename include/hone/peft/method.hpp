// Methods of fine-tuning as values: each prepares a model, and nothing above it asks which one it was.
#pragma once

#include <hone/nn/policy.hpp>
#include <hone/peft/bitfit.hpp>
#include <hone/peft/bottleneck.hpp>
#include <hone/peft/ia3.hpp>
#include <hone/peft/lora.hpp>
#include <hone/peft/merge.hpp>
#include <hone/peft/prefix.hpp>
#include <hone/peft/prompt.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace hone {

/// Every weight of the base trains.
struct FullTuning {
  static constexpr std::string_view name = "full";

  template <class Model>
  void prepare(Model& model, const Policy& policy) const {
    model.set_base_trainable(true, policy.gradients);
  }
};

/// The base is frozen; LoRA trains beside the linears that target_modules picks.
struct LoraTuning {
  static constexpr std::string_view name = "lora";

  LoRA lora;
  std::vector<std::string> target_modules = {"all-linear"};

  template <class Model>
  void prepare(Model& model, const Policy& policy) const {
    attach(model, target_modules, lora, std::make_shared<AdapterSwitch>(), policy.gradients);
  }
};

/// A method that is its config and nothing else: attach(model, config) freezes the base and inserts what trains.
template <class C>
struct Attached {
  using Config = C;
  static constexpr std::string_view name = C::method;

  C config = {};

  template <class Model>
  void prepare(Model& model, const Policy&) const {
    attach(model, config);
  }
};

/// Makes nothing of a model trainable any more: generation and scoring hold no gradients.
template <class Model>
void freeze_all(Model& model) {
  model.set_base_trainable(false);
  model.visit_adapters([](const std::string&, auto& weight) { freeze(weight); });
}

using Method = std::variant<FullTuning, LoraTuning, Attached<IA3>, Attached<BitFit>, Attached<Bottleneck>,
                            Attached<PrefixTuning>, Attached<PromptTuning>>;

/// The method's name, as the key `method` has it.
inline std::string_view name_of(const Method& method) {
  return std::visit([](const auto& one) { return one.name; }, method);
}

}  // namespace hone
