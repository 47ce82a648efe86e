// The Llama family: Llama 2 and 3, Mistral, SmolLM2, Qwen2 and Qwen3 are one architecture with different switches.
#pragma once

#include <hone/models/llama_layer.hpp>
#include <hone/models/loss.hpp>
#include <hone/nn/device_batch.hpp>
#include <hone/nn/virtual_tokens.hpp>
#include <hone/ops/checkpoint.hpp>
#include <hone/ops/embedding.hpp>
#include <hone/ops/lm_head_cross_entropy.hpp>
#include <hone/ops/offload.hpp>
#include <hone/ops/residual_add.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// Which activations a step keeps and which it computes again in the backward pass. All give the same bits.
enum class Recompute {
  none,       ///< all are kept
  selective,  ///< the results of norms and SwiGLU are formed again from what is kept beside them: no matrix product is
              ///< repeated
  full,       ///< every layer keeps its input alone and runs again
};

template <class T, Device D = Cpu>
class Llama {
 public:
  using Element = T;
  using DeviceType = D;

  /// All weights uninitialised: load or initialise them.
  Llama(const LlamaConfig& config, const D& device)
      : config_(config), device_(device), tokens_(std::make_shared<GradientTokens>()) {
    const Shape table{config.vocab_size, config.hidden_size};
    embed_ = Tensor<T, D>::empty(device, table, {Category::weights, "embed_tokens"});
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) layers_.emplace_back(config, i, device);
    norm_ = Tensor<T, D>::empty(device, {config.hidden_size}, {Category::weights, "norm"});
    if (!config.tie_word_embeddings) lm_head_ = Tensor<T, D>::empty(device, table, {Category::weights, "lm_head"});
    const auto frequencies = inverse_frequencies(config);
    inverse_frequencies_ = Tensor<float, D>::from(device, {static_cast<std::int64_t>(frequencies.size())}, frequencies,
                                                  {Category::weights, "rope"});
  }

  const LlamaConfig& config() const { return config_; }
  const D& device() const { return device_; }
  Recompute recompute = Recompute::none;
  /// With Recompute::full the layers' inputs wait in the host's memory for their backward. The bits are the same; a
  /// forward pass must then be differentiated before the next begins. Nothing changes on the processor.
  void offload_activations(bool on) {
    host_inputs_ = on && is_card(device_.target()) ? std::make_shared<HostInputs<D>>(device_) : nullptr;
  }
  /// Where they wait, or null.
  const std::shared_ptr<HostInputs<D>>& host_inputs() const { return host_inputs_; }
  std::int64_t loss_chunk = 0;  ///< tokens that go through the output projection at a time, 0: about 8 Mi logits
  /// Keys of adapters' configs that mean nothing here, as JSON objects by the adapter's name: to be saved again.
  std::map<std::string, std::string> kept_keys;

  /// Normed hidden states (N, hidden_size) of a batch, which prepared() has made ready.
  Tensor<T, D> hidden(const DeviceBatch<D>& batch) const {
    check(batch.virtual_tokens == virtual_tokens(),
          "[llama] a batch made for {} virtual tokens met a model of {}: pass it through prepared() first",
          batch.virtual_tokens, virtual_tokens());
    LayerContext<T, D> context;
    context.rope = rope_table<Accumulator<T>>(batch.positions, inverse_frequencies_);
    context.documents = batch.documents;
    if (virtual_keys_values_.count > 0) {
      context.prefix = virtual_keys_values_.rows();
      context.prefix_rows = virtual_rows(batch.documents, batch.tokens(), batch.document_count, batch.most_documents,
                                         virtual_keys_values_.count, Copying<D>);
    }
    return run_layers(embedded(batch.ids, batch.documents), context);
  }

  /// `batch` as the model takes it: with its virtual tokens, or with room for them in its positions. `room` holds the
  /// changed copy where one is needed.
  const Batch& prepared(const Batch& batch, Batch& room) const {
    if (batch.virtual_tokens == virtual_tokens()) return batch;
    check(batch.virtual_tokens == 0, "[llama] a batch with {} virtual tokens met a model of {}", batch.virtual_tokens,
          virtual_tokens());
    room = virtual_inputs_.count > 0 ? with_virtual_tokens(batch, virtual_inputs_.count)
                                     : behind_virtual_tokens(batch, virtual_keys_values_.count);
    return room;
  }

  /// Loss of a batch; see Loss for what its backward adds.
  Loss<D> loss(const Batch& batch) const { return loss(uploaded(batch)); }
  Loss<D> loss(const DeviceBatch<D>& batch) const {
    return {lm_head_cross_entropy(hidden(batch), head(), batch.supervision, 1.0, loss_chunk), batch.supervised,
            tokens_};
  }

  /// Negative log-likelihood of every supervised token of a batch, in order. Nothing is recorded.
  std::vector<double> token_losses(const Batch& batch) const {
    std::vector<double> out;
    token_losses(batch, out);
    return out;
  }
  /// The same in a vector of the caller's: what it has reserved is used again.
  void token_losses(const Batch& batch, std::vector<double>& out) const { token_losses(uploaded(batch)).copy_to(out); }
  /// The same, left on the device: (supervised).
  Tensor<Accumulator<T>, D> token_losses(const DeviceBatch<D>& batch) const {
    const no_grad guard;
    return token_losses(batch, hidden(batch));
  }
  /// The same of hidden states that the caller has (N, hidden_size).
  Tensor<Accumulator<T>, D> token_losses(const DeviceBatch<D>& batch, const Tensor<T, D>& states) const {
    const no_grad guard;
    return lm_head_losses(states, head(), batch.supervision, loss_chunk).rows(0, batch.supervised);
  }

  /// Logits (N, vocab_size) of a batch's own tokens. Nothing is recorded.
  Tensor<Accumulator<T>, D> logits(const Batch& batch) const {
    const no_grad guard;
    Batch room;
    const Batch& whole = prepared(batch, room);
    const auto states = hidden(upload(whole, device_));
    if (virtual_inputs_.count == 0) return project(states);
    const auto own = own_rows(whole, batch.tokens());
    return project(take_rows(states, Tensor<std::int32_t, D>::from(device_, {batch.tokens()}, own)));
  }

  /// Runs `ids` behind what the cache holds and returns the logits of the last one, (1, vocab_size). An empty cache
  /// takes the virtual tokens first.
  Tensor<Accumulator<T>, D> logits(std::span<const std::int32_t> ids, KvCache<T, D>& cache) const {
    check(!ids.empty(), "[llama] no token to run");
    const no_grad guard;
    std::vector<std::int32_t> all;
    if (cache.length() == 0) {
      for (std::int64_t v = 0; v < virtual_inputs_.count; ++v) all.push_back(static_cast<std::int32_t>(-1 - v));
      fill_prefix(cache);
    }
    all.insert(all.end(), ids.begin(), ids.end());
    const auto count = static_cast<std::int64_t>(all.size()), past = cache.length();
    const auto tokens = [&](std::initializer_list<std::int32_t> values) {
      return Tensor<std::int32_t, D>::from(device_, {2}, std::vector<std::int32_t>(values));
    };
    std::vector<std::int32_t> positions;
    for (std::int64_t i = 0; i < count; ++i) positions.push_back(static_cast<std::int32_t>(past + i));
    LayerContext<T, D> context;
    context.rope =
        rope_table<Accumulator<T>>(Tensor<std::int32_t, D>::from(device_, {count}, positions), inverse_frequencies_);
    context.cache = &cache;
    context.q_range = tokens({0, static_cast<std::int32_t>(count)});
    context.k_range = tokens({0, static_cast<std::int32_t>(past + count)});
    const auto out =
        run_layers(embedded(Tensor<std::int32_t, D>::from(device_, {count}, all), context.q_range), context);
    cache.advance(count);
    return project(out.rows(count - 1, 1));
  }

  /// Room for `capacity` tokens behind the virtual ones.
  KvCache<T, D> make_cache(std::int64_t capacity) const {
    return {device_, config_.num_hidden_layers, capacity + virtual_tokens(),
            config_.num_key_value_heads * config_.head_dim};
  }

  /// Virtual tokens before every document, 0 where there are none.
  std::int64_t virtual_tokens() const { return virtual_inputs_.count + virtual_keys_values_.count; }
  /// Puts `count` virtual tokens before every document: their embeddings (Insertion::embeddings) or their keys and
  /// values in all layers (Insertion::keys_values) are what `bypass` gives. A model has one kind of them.
  void insert_virtual_tokens(Insertion insertion, std::int64_t count, BypassAt<VirtualTokensSite<T, D>> bypass) {
    check(virtual_tokens() == 0, "[llama] the model has virtual tokens already ({})", virtual_tokens());
    auto& place = insertion == Insertion::embeddings ? virtual_inputs_ : virtual_keys_values_;
    place.count = count;
    place.bypasses.push_back(std::move(bypass));
  }

  /// f(Hugging Face name, tensor) for every weight of the base.
  template <class F>
  void visit(F&& f) {
    f(std::string("model.embed_tokens.weight"), embed_);
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i].visit(layer_path(i), f);
    f(std::string("model.norm.weight"), norm_);
    if (lm_head_.defined()) f(std::string("lm_head.weight"), lm_head_);
  }
  /// What changes the embeddings of tokens once they are looked up.
  std::vector<BypassAt<LookupSite<T, D>>>& lookup_bypasses() { return lookup_bypasses_; }
  /// f(module path, linear, part) for every projection of the blocks.
  template <class F>
  void visit_linears(F&& f) {
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i].visit_linears(layer_path(i), f);
  }
  /// f(path, Insertion, bypasses) for attention and feed-forward of every block.
  template <class F>
  void visit_sublayers(F&& f) {
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i].visit_sublayers(layer_path(i), f);
  }
  /// f(path, Insertion, bypass) for everything that was inserted; the path of virtual tokens is empty.
  template <class F>
  void visit_bypasses(F&& f) {
    for (const auto& bypass : virtual_inputs_.bypasses) f(std::string(), Insertion::embeddings, bypass);
    for (const auto& bypass : virtual_keys_values_.bypasses) f(std::string(), Insertion::keys_values, bypass);
    for (const auto& bypass : lookup_bypasses_) f(std::string("model.embed_tokens"), Insertion::token_lookup, bypass);
    visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
      if (part == 0)
        for (const auto& bypass : linear.input_bypasses()) f(path, Insertion::linear_input, bypass);
      for (const Bypass<T, D>& bypass : linear.bypasses(part)) f(path, Insertion::linear, bypass);
    });
    visit_sublayers([&](const std::string& path, Insertion insertion, auto& bypasses) {
      for (const auto& bypass : bypasses) f(path, insertion, bypass);
    });
  }
  /// f(name, tensor) for every adapter weight: "<path of its bypass>.<name of the weight in it>".
  template <class F>
  void visit_adapters(F&& f) {
    visit_bypasses([&](const std::string& path, Insertion, const auto& bypass) {
      bypass.visit([&](const std::string& name, auto weight) {
        std::visit([&](auto* tensor) { f(path.empty() ? name : path + "." + name, *tensor); }, weight);
      });
    });
  }

  /// Makes every base weight trainable, or none.
  void set_base_trainable(bool trainable, GradientPrecision precision = GradientPrecision::same) {
    trainable_is_chosen_ = true;
    visit([&](const std::string&, Tensor<T, D>& weight) {
      trainable ? make_trainable(weight, precision) : freeze(weight);
    });
  }

  /// All weights, base first, then adapters.
  ParameterList<D> parameters() {
    ParameterList<D> out{{}, tokens_};
    const auto add = [&](const std::string& name, auto& tensor) { out.items.push_back({name, tensor}); };
    visit(add);
    visit_adapters(add);
    return out;
  }
  /// Those with a gradient slot. A model to which nothing was attached and whose base was not frozen trains in full.
  ParameterList<D> trainable_parameters() {
    if (!trainable_is_chosen_) set_base_trainable(true);
    ParameterList<D> out{{}, tokens_};
    for (auto& parameter : parameters().items)
      if (parameter.trainable()) out.items.push_back(std::move(parameter));
    return out;
  }

 private:
  /// Virtual tokens and what gives their rows.
  struct VirtualTokens {
    std::int64_t count = 0;
    std::vector<BypassAt<VirtualTokensSite<T, D>>> bypasses = {};

    Tensor<Accumulator<T>, D> rows() const {
      Tensor<Accumulator<T>, D> out;
      for (const auto& bypass : bypasses) bypass.apply({out});
      return out;
    }
  };

  DeviceBatch<D> uploaded(const Batch& batch) const {
    Batch room;
    return upload(prepared(batch, room), device_);
  }
  Tensor<T, D> embedded(const Tensor<std::int32_t, D>& ids, const Tensor<std::int32_t, D>& documents) const {
    if (virtual_inputs_.count == 0) {
      auto y = embedding(ids, embed_);
      for (const auto& bypass : lookup_bypasses_) bypass.apply({ids, y});
      return y;
    }
    check(lookup_bypasses_.empty(), "[llama] virtual tokens and an adapter of the embeddings do not go together");
    return virtual_embedding(ids, documents, embed_, virtual_inputs_.rows());
  }
  /// Virtual keys and values come first in an empty cache.
  void fill_prefix(KvCache<T, D>& cache) const {
    if (virtual_keys_values_.count == 0) return;
    const auto rows = virtual_keys_values_.rows();  // (P, layers * 2 * width)
    const std::int64_t width = config_.num_key_value_heads * config_.head_dim;
    for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer)
      cache.append(layer, rows.columns(2 * layer * width, width), rows.columns((2 * layer + 1) * width, width));
    cache.advance(virtual_keys_values_.count);
  }

  static std::string layer_path(std::size_t index) { return "model.layers." + std::to_string(index) + "."; }

  const Tensor<T, D>& head() const { return lm_head_.defined() ? lm_head_ : embed_; }

  Tensor<Accumulator<T>, D> project(const Tensor<T, D>& x) const {
    auto out =
        Tensor<Accumulator<T>, D>::empty(device_, {x.extent(0), config_.vocab_size}, {Category::activations, "logits"});
    gemm(x, head(), out, {.transpose_b = true});
    return out;
  }

  Tensor<T, D> run_layers(const Tensor<T, D>& embedded, LayerContext<T, D> context) const {
    if (recompute == Recompute::full && grad_enabled()) return run_layers_recomputed(embedded, context);
    context.recompute_cheap = recompute == Recompute::selective;
    Tensor<T, D> residual = embedded;
    Tensor<T, D> y = rms_norm(residual, layers_.front().input_norm(), config_.rms_norm_eps);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto out = layers_[i](residual, std::move(y), context);
      const Tensor<T, D>& next_norm = i + 1 < layers_.size() ? layers_[i + 1].input_norm() : norm_;
      auto fused = add_rms_norm(out.residual, out.delta, next_norm, config_.rms_norm_eps);
      residual = std::move(fused.sum);
      y = std::move(fused.y);
    }
    return y;
  }

  /// The same values; each layer keeps its input only.
  Tensor<T, D> run_layers_recomputed(const Tensor<T, D>& embedded, const LayerContext<T, D>& context) const {
    Tensor<T, D> residual = embedded;
    std::shared_ptr<OffloadedInputs<T, D>> offloaded;
    if (host_inputs_ != nullptr)
      offloaded = std::make_shared<OffloadedInputs<T, D>>(host_inputs_, config_.num_hidden_layers, residual);
    for (const auto& layer : layers_) {
      const auto run = [&layer, context, eps = config_.rms_norm_eps](const Tensor<T, D>& x) {
        const auto out = layer(x, rms_norm(x, layer.input_norm(), eps), context);
        return residual_add(out.residual, out.delta);
      };
      residual = offloaded != nullptr ? checkpoint_offloaded(run, residual, offloaded) : checkpoint(run, residual);
    }
    return rms_norm(residual, norm_, config_.rms_norm_eps);
  }

  LlamaConfig config_;
  D device_;
  std::shared_ptr<GradientTokens> tokens_;
  std::shared_ptr<HostInputs<D>> host_inputs_;  // null: layer inputs stay on the device
  bool trainable_is_chosen_ = false;
  VirtualTokens virtual_inputs_, virtual_keys_values_;
  std::vector<BypassAt<LookupSite<T, D>>> lookup_bypasses_;
  Tensor<T, D> embed_, norm_, lm_head_;
  Tensor<float, D> inverse_frequencies_;
  std::vector<LlamaLayer<T, D>> layers_;
};

}  // namespace hone
