// Folding bypasses into the weights they sit on, where algebra allows it: LoRA and DoRA, IA3, BitFit.
#pragma once

#include <hone/peft/bitfit.hpp>
#include <hone/peft/ia3.hpp>
#include <hone/peft/lora.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace hone {

/// A bypass that the weight and the bias of the part it sits on can take up.
template <class F, class T, class D>
concept Mergeable = requires(const F& f, const Linear<T, D>& linear, std::size_t part) {
  { f.merge(linear, part) } -> std::same_as<void>;
};

namespace detail {

/// f(the LoRA, IA3 or BitFit that a bypass is); false where it is none of them.
template <class T, Device D, class F>
bool with_mergeable(const Bypass<T, D>& bypass, F&& f) {
  const auto is = [&]<Mergeable<T, D> One>(One* one) {
    if (one != nullptr) f(*one);
    return one != nullptr;
  };
  return is(bypass.template get_if<LoraBypass<T, D>>()) || is(bypass.template get_if<Ia3Bypass<T, D>>()) ||
         is(bypass.template get_if<BitFitBypass<T, D>>());
}

/// Why a bypass at such a place is no change of a weight.
inline std::string_view why_unmergeable(Insertion insertion) {
  switch (insertion) {
    case Insertion::embeddings:
      return "its virtual tokens stand before the text, and no weight of the base makes them";
    case Insertion::keys_values:
      return "its keys and values belong to no token of the text, and no weight of the base makes them";
    case Insertion::attention:
    case Insertion::feed_forward:
      return "between its two products stands a non-linearity, so that no weight of the base can do what both do";
    default:
      return "it is not a sum with the weight there, nor a scaling of it";
  }
}

/// Throws for the first bypass of the model that no weight can take up.
template <class Model>
void check_mergeable(Model& model) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  model.visit_bypasses([&](const std::string& path, Insertion insertion, const auto& bypass) {
    bool fits = bypass.template get_if<LoraEmbedding<T, D>>() != nullptr ||
                bypass.template get_if<Ia3InputBypass<T, D>>() != nullptr;
    if constexpr (std::is_same_v<std::decay_t<decltype(bypass)>, Bypass<T, D>>)
      fits = fits || with_mergeable<T, D>(bypass, [](const auto&) {});
    check(fits, "[merge] the adapter beside {} cannot be merged: {} ({} at the {})", path.empty() ? "the model" : path,
          why_unmergeable(insertion), bypass.kind().function, name_of(insertion));
  });
  model.visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
    const auto& bypasses = linear.bypasses(part);
    bool changes_weight = !linear.input_bypasses().empty();
    for (const Bypass<T, D>& bypass : bypasses) {
      if (bypass.template get_if<BitFitBypass<T, D>>() != nullptr) {
        check(linear.part(part).bias.defined(),
              "[merge] {} has no bias: models of this family have no place for what BitFit learned there", path);
        continue;
      }
      changes_weight = true;
      const auto* lora = bypass.template get_if<LoraBypass<T, D>>();
      if (lora == nullptr) continue;
      check(!lora->adapter().mixed, "[merge] the adapter beside {} acts on some rows of a batch only", path);
      check(!lora->config().use_dora || bypasses.size() == 1,
            "[merge] {} has several adapters and one of them is DoRA, whose scaling is not a sum: merge them one by "
            "one",
            path);
    }
    check(!changes_weight || linear.part(part).quantised == nullptr,
          "[merge] {} is quantised: its weight cannot take up an adapter; merge onto the dequantised base", path);
  });
  check(model.lookup_bypasses().empty() || !model.config().tie_word_embeddings,
        "[merge] {} is tied to the output projection, which its adapter does not change: one table cannot be both",
        embedding_path);
}

}  // namespace detail

/// Folds what was inserted into the weights of the base, each rounded once, and removes it: every active LoRA adds its
/// delta, W += scale B A, DoRA then gives the rows their magnitudes; IA3 scales rows and bias, or the columns of what
/// reads a scaled input; BitFit adds to the bias. What sits on one part is taken up in its order. Methods whose algebra
/// forbids it, quantised weights, and BitFit where there is no bias are Errors, before anything is changed.
template <class Model>
void merge(Model& model) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  const no_grad guard;
  detail::check_mergeable(model);
  detail::visit_embeddings(model, [&](const Tensor<T, D>& table) {
    for (const auto& bypass : model.lookup_bypasses()) {
      const auto* lookup = bypass.template get_if<LoraEmbedding<T, D>>();
      if (lookup->adapter().active) lookup->merge(table.detached());
    }
  });
  model.lookup_bypasses().clear();
  model.visit_linears([](const std::string&, Linear<T, D>& linear, std::size_t part) {
    for (const Bypass<T, D>& bypass : linear.bypasses(part))
      detail::with_mergeable<T, D>(bypass, [&](const auto& one) { one.merge(linear, part); });
    // What sits beside the part sees the scaled input too, so that its share of the weight is scaled with it.
    for (const auto& bypass : linear.input_bypasses())
      bypass.template get_if<Ia3InputBypass<T, D>>()->merge(linear, part);
  });
  model.visit_linears([](const std::string&, Linear<T, D>& linear, std::size_t part) {
    linear.bypasses(part).clear();
    linear.input_bypasses().clear();
  });
  model.kept_keys.clear();
}

}  // namespace hone
