// One Llama block: attention and a SwiGLU MLP, each behind an RMSNorm, on a residual stream.
#pragma once

#include <hone/models/kv_cache.hpp>
#include <hone/models/llama_config.hpp>
#include <hone/nn/linear.hpp>
#include <hone/ops/attention.hpp>
#include <hone/ops/qk_norm_rope.hpp>
#include <hone/ops/recompute.hpp>
#include <hone/ops/rms_norm.hpp>
#include <hone/ops/rope.hpp>
#include <hone/ops/swiglu.hpp>
#include <hone/ops/virtual_tokens.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// What every layer of one forward pass shares.
template <class T, Device D>
struct LayerContext {
  Tensor<Accumulator<T>, D> rope;            // (N, head_dim)
  Tensor<std::int32_t, D> documents;         // training: cumulative lengths
  Tensor<Accumulator<T>, D> prefix;          // training: virtual keys and values of all layers, or undefined
  VirtualRows<D> prefix_rows;                // training: where they lie among the tokens' own
  bool recompute_cheap = false;              // training: results of norms and SwiGLU are formed again in backward
  KvCache<T, D>* cache = nullptr;            // generation: where keys and values go, null in training
  Tensor<std::int32_t, D> q_range, k_range;  // generation: {0, new}, {0, past + new}
};

/// Parameters and forward of one block. Names under `visit` are Hugging Face's.
template <class T, Device D>
class LlamaLayer {
 public:
  LlamaLayer(const LlamaConfig& config, std::int64_t index, const D& device)
      : index_(index),
        eps_(config.rms_norm_eps),
        shape_{config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.window_of_layer(index),
               1.0 / std::sqrt(static_cast<double>(config.head_dim))},
        input_norm_(norm_weight(device, config.hidden_size)),
        post_norm_(norm_weight(device, config.hidden_size)),
        qkv_(device, config.hidden_size,
             {{"q_proj", shape_.heads * shape_.head_dim},
              {"k_proj", shape_.kv_heads * shape_.head_dim},
              {"v_proj", shape_.kv_heads * shape_.head_dim}},
             config.qkv_bias, "self_attn.qkv", stored(config, index, "self_attn.")),
        o_(device, shape_.heads * shape_.head_dim, {{"o_proj", config.hidden_size}}, config.attention_bias,
           "self_attn.o_proj", stored(config, index, "self_attn.")),
        gate_up_(device, config.hidden_size,
                 {{"gate_proj", config.intermediate_size}, {"up_proj", config.intermediate_size}}, false, "mlp.gate_up",
                 stored(config, index, "mlp.")),
        down_(device, config.intermediate_size, {{"down_proj", config.hidden_size}}, false, "mlp.down_proj",
              stored(config, index, "mlp.")) {
    if (!config.qk_norm) return;
    q_norm_ = norm_weight(device, config.head_dim);
    k_norm_ = norm_weight(device, config.head_dim);
  }

  const Tensor<T, D>& input_norm() const { return input_norm_; }

  /// From the residual stream and its norm y by input_norm(): the new residual stream and what is still to be added to
  /// it. The next layer's norm (or the final one) fuses that addition.
  struct Output {
    Tensor<T, D> residual, delta;
  };
  Output operator()(const Tensor<T, D>& residual, Tensor<T, D> y, const LayerContext<T, D>& context) const {
    auto attended = o_(attend(consume(std::move(y), qkv_, context, norm_of(residual, input_norm_)), context));
    for (const auto& bypass : attention_bypasses_) bypass.apply({residual, attended});
    auto middle = add_rms_norm(residual, attended, post_norm_, eps_);
    const auto gate_up = consume(std::move(middle.y), gate_up_, context, norm_of(middle.sum, post_norm_));
    const auto swiglu_again = [gate_up = gate_up.detached()](const Tensor<T, D>& x) { swiglu_into(gate_up, x); };
    auto delta = consume(swiglu(gate_up), down_, context, swiglu_again);
    for (const auto& bypass : feed_forward_bypasses_) bypass.apply({middle.sum, delta});
    return {middle.sum, std::move(delta)};
  }

  template <class F>
  void visit(const std::string& path, F&& f) {
    f(path + "input_layernorm.weight", input_norm_);
    qkv_.visit(path + "self_attn.", f);
    if (q_norm_.defined()) {
      f(path + "self_attn.q_norm.weight", q_norm_);
      f(path + "self_attn.k_norm.weight", k_norm_);
    }
    o_.visit(path + "self_attn.", f);
    f(path + "post_attention_layernorm.weight", post_norm_);
    gate_up_.visit(path + "mlp.", f);
    down_.visit(path + "mlp.", f);
  }
  template <class F>
  void visit_linears(const std::string& path, F&& f) {
    qkv_.visit_linears(path + "self_attn.", f);
    o_.visit_linears(path + "self_attn.", f);
    gate_up_.visit_linears(path + "mlp.", f);
    down_.visit_linears(path + "mlp.", f);
  }
  /// f(path, Insertion, bypasses) of both sublayers; paths are AdapterHub's.
  template <class F>
  void visit_sublayers(const std::string& path, F&& f) {
    f(path + "attention_adapters", Insertion::attention, attention_bypasses_);
    f(path + "output_adapters", Insertion::feed_forward, feed_forward_bypasses_);
  }

 private:
  /// How the linears at "model.layers.<index>.<path>" are stored.
  static typename Linear<T, D>::Storage stored(const LlamaConfig& config, std::int64_t index, std::string_view path) {
    return {config.quantization, fmt::format("model.layers.{}.{}", index, path)};
  }
  static Tensor<T, D> norm_weight(const D& device, std::int64_t size) {
    return Tensor<T, D>::empty(device, {size}, {Category::weights, "norm"});
  }

  /// linear(x), which is the last to read x; refill(x) can form x again.
  template <class F>
  static Tensor<T, D> consume(Tensor<T, D> x, const Linear<T, D>& linear, const LayerContext<T, D>& context, F refill) {
    auto out = linear(x);
    if (context.recompute_cheap) recompute_in_backward(std::move(x), std::move(refill), out);
    return out;
  }
  /// What writes the norm of x again.
  auto norm_of(const Tensor<T, D>& x, const Tensor<T, D>& weight) const {
    return [x = x.detached(), weight = weight.detached(), eps = eps_](const Tensor<T, D>& y) {
      rms_norm_into(x, weight, eps, y);
    };
  }

  Tensor<T, D> attend(Tensor<T, D> qkv, const LayerContext<T, D>& context) const {
    if (q_norm_.defined())
      qkv = qk_norm_rope(qkv, shape_.heads, shape_.kv_heads, q_norm_, k_norm_, eps_, context.rope);
    else
      rope_in_place(qkv, (shape_.heads + shape_.kv_heads) * shape_.head_dim, context.rope);
    if (context.prefix.defined())
      return prefixed_attention(qkv, context.prefix, index_ * 2 * shape_.kv_heads * shape_.head_dim,
                                context.prefix_rows, shape_);
    if (context.cache == nullptr) return attention(qkv, context.documents, shape_);
    const auto heads = detail::split_heads(qkv, shape_);
    const auto past = context.cache->append(index_, heads.k, heads.v);
    return attention_cached(heads.q, past.k, past.v, context.q_range, context.k_range, shape_);
  }

  std::int64_t index_;
  double eps_;
  AttentionShape shape_;
  Tensor<T, D> input_norm_, post_norm_, q_norm_, k_norm_;
  Linear<T, D> qkv_, o_, gate_up_, down_;
  std::vector<BypassAt<SublayerSite<T, D>>> attention_bypasses_, feed_forward_bypasses_;
};

}  // namespace hone
