// Prompt tuning (Lester et al., 2021): trained embeddings before the tokens of every document.
#pragma once

#include <hone/core/philox.hpp>
#include <hone/nn/bypass.hpp>
#include <hone/nn/init.hpp>
#include <hone/ops/embedding.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

enum class PromptInit : std::uint8_t { random, sample_vocab, text };

inline constexpr std::array<std::string_view, 3> prompt_init_names = {"RANDOM", "SAMPLE_VOCAB", "TEXT"};

/// What to attach; names of PEFT's PromptTuningConfig.
struct PromptTuning {
  static constexpr std::string_view method = "prompt";

  std::int64_t num_virtual_tokens = 20;
  PromptInit init = PromptInit::random;
  std::vector<std::int32_t> init_ids = {};  ///< tokens of the text that TEXT begins with
  std::uint64_t seed = 42;

  /// f(key, value) for every setting, by its key.
  template <class F>
  void visit_settings(F&& f) const {
    f("num_virtual_tokens", num_virtual_tokens);
    f("prompt_tuning_init", std::string(prompt_init_names[static_cast<std::size_t>(init)]));
  }

  void validate() const {
    check(num_virtual_tokens >= 1 && num_virtual_tokens <= 65536,
          "[prompt] num_virtual_tokens {} must lie between 1 and 65536", num_virtual_tokens);
    check(init != PromptInit::text || !init_ids.empty(),
          "[prompt] prompt_tuning_init TEXT needs a text of some tokens");
  }
};

template <class T, Device D>
class PromptBypass {
 public:
  using A = Accumulator<T>;

  PromptBypass(const D& device, std::int64_t tokens, std::int64_t hidden)
      : rows_(Tensor<A, D>::empty(device, {tokens, hidden}, {Category::weights, "prompt_embeddings"})) {
    make_trainable(rows_);
  }

  void apply(const VirtualTokensSite<T, D>& at) const { at.rows = rows_; }
  BypassKind kind() const { return {"E", Form::parallel, Composition::concatenate}; }
  void visit(WeightVisitor<D> visitor) { visitor("prompt_embeddings", &rows_); }
  const Tensor<A, D>& rows() const { return rows_; }

 private:
  Tensor<A, D> rows_;  // (P, C)
};

namespace detail {

/// The tokens whose embeddings a prompt begins as: PEFT's sampled ones are uniform over the vocabulary, its text is
/// repeated or cut to the prompt's length.
inline std::vector<std::int32_t> prompt_ids(const PromptTuning& config, std::int64_t vocabulary) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < config.num_virtual_tokens; ++i) {
    if (config.init == PromptInit::text) {
      ids.push_back(config.init_ids[static_cast<std::size_t>(i) % config.init_ids.size()]);
    } else {
      const auto words = philox(config.seed, stream_of("prompt_embeddings"), static_cast<std::uint64_t>(i));
      const std::uint64_t draw = (std::uint64_t{words[0]} << 32) | words[1];
      ids.push_back(static_cast<std::int32_t>(draw % static_cast<std::uint64_t>(vocabulary)));
    }
  }
  return ids;
}

}  // namespace detail

/// Freezes the base and puts a prompt before every document. RANDOM draws standard normals, as torch's embeddings do.
template <class Model>
void attach(Model& model, const PromptTuning& config) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  config.validate();
  for (const std::int32_t id : config.init_ids)
    check(id >= 0 && id < model.config().vocab_size, "[prompt] init_ids: {} is no token of a vocabulary of {}", id,
          model.config().vocab_size);
  model.set_base_trainable(false);
  PromptBypass<T, D> prompt(model.device(), config.num_virtual_tokens, model.config().hidden_size);
  if (config.init == PromptInit::random) {
    fill_normal(prompt.rows(), 1.0, config.seed, stream_of("prompt_embeddings"));
  } else {
    const no_grad guard;
    const auto ids = Tensor<std::int32_t, D>::from(model.device(), {config.num_virtual_tokens},
                                                   detail::prompt_ids(config, model.config().vocab_size));
    model.visit([&](const std::string& name, const Tensor<T, D>& weight) {
      if (name == "model.embed_tokens.weight") copy_into(embedding(ids, weight), prompt.rows());
    });
  }
  model.insert_virtual_tokens(Insertion::embeddings, config.num_virtual_tokens,
                              BypassAt<VirtualTokensSite<T, D>>(std::move(prompt)));
}

}  // namespace hone
