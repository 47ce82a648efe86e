// The methods as one family (He et al., ICLR 2022): each as its function, where it is inserted, its form and how it is
// composed, with what it trains and what it costs on a given model. All of it is read off the code's own types: the
// method prepares a model without memory, which then says what was inserted and what a pass over it computes.
#pragma once

#include <hone/plan/plan_words.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

/// What a method inserts at one kind of place.
struct MethodPart {
  BypassKind kind;
  Insertion insertion = Insertion::linear;
  std::vector<std::string> modules = {};  ///< names that its paths end in: q_proj
};

/// One method on one model.
struct MethodRow {
  std::string name;
  std::string settings;                ///< "num_virtual_tokens 20, prefix_projection false"
  std::vector<MethodPart> parts = {};  ///< none where every weight of the base trains
  std::int64_t trainable = 0;          ///< weights
  std::int64_t bytes = 0;              ///< of what is saved, in the types it is held in
  double flops_per_token = 0;          ///< of a forward pass, beyond the base's
  double flops_share = 0;              ///< of the base's
};

/// Every method of the program as it is unless told otherwise, and the variants people know by a name of their own.
inline std::vector<Method> all_methods() {
  return {FullTuning{},
          LoraTuning{{.r = 16, .alpha = 32}},
          LoraTuning{{.r = 16, .alpha = 32, .use_dora = true}},
          Attached<Bottleneck>{Bottleneck::houlsby()},
          Attached<Bottleneck>{Bottleneck::pfeiffer()},
          Attached<Bottleneck>{Bottleneck::parallel()},
          Attached<PrefixTuning>{},
          Attached<PrefixTuning>{{.prefix_projection = true}},
          Attached<PromptTuning>{},
          Attached<IA3>{},
          Attached<BitFit>{}};
}

namespace detail {

inline double forward_flops(const Llama<bf16, Meta>& model, const Meta& meta, std::int64_t tokens) {
  meta.work() = {};
  auto cache = model.make_cache(tokens);
  model.logits(std::vector<std::int32_t>(static_cast<std::size_t>(tokens)), cache);
  return meta.work().flops;
}

inline std::string settings_of(const Method& method) {
  std::string out;
  const auto add = [&](std::string_view key, const auto& value) {
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", key, text_of(RunSetting::Value(value)));
  };
  if (const auto* tuning = std::get_if<LoraTuning>(&method)) {
    add("lora_r", tuning->lora.r);
    add("lora_alpha", tuning->lora.alpha);
    if (tuning->lora.use_dora) add("use_dora", true);
    add("target_modules", tuning->target_modules);
  }
  visit_settings(method, add);
  return out;
}

/// Enters a bypass at `path` among the parts.
inline void add_part(std::vector<MethodPart>& parts, const std::string& path, Insertion insertion,
                     const BypassKind& kind) {
  const auto same = [&](const MethodPart& part) {
    return part.insertion == insertion && part.kind.function == kind.function;
  };
  auto part = std::find_if(parts.begin(), parts.end(), same);
  if (part == parts.end()) part = parts.insert(parts.end(), {kind, insertion});
  const std::string name = path.substr(path.rfind('.') + 1);
  if (!name.empty() && std::ranges::count(part->modules, name) == 0) part->modules.push_back(name);
}

}  // namespace detail

/// A row for `method` on a model of `config` that computes in bf16. FLOPs are those of reading a prompt of `tokens`
/// tokens.
inline MethodRow method_row(const Method& method, const LlamaConfig& config, std::int64_t tokens) {
  MethodRow out{std::string(name_of(method)), detail::settings_of(method)};
  const Meta meta;
  Llama<bf16, Meta> model(config, meta);
  const double base = detail::forward_flops(model, meta, tokens);
  std::visit([&](const auto& one) { one.prepare(model, policy::bf16); }, method);
  model.visit_bypasses([&](const std::string& path, Insertion insertion, const auto& bypass) {
    detail::add_part(out.parts, path, insertion, bypass.kind());
  });
  for (const auto& parameter : model.parameters().items) {
    if (!parameter.trainable()) continue;
    out.trainable += parameter.elements();
    out.bytes += parameter.elements() * size_of(parameter.dtype());
  }
  const double extra = detail::forward_flops(model, meta, tokens) - base;
  out.flops_per_token = extra / static_cast<double>(tokens);
  out.flops_share = extra / base;
  return out;
}

}  // namespace hone
