// LoRA of the embeddings: y_n += s B A[:, id_n], a second, narrow table beside the first.
#pragma once

#include <hone/nn/bypass.hpp>
#include <hone/nn/init.hpp>
#include <hone/ops/embedding.hpp>
#include <hone/ops/lora.hpp>
#include <hone/peft/adapter_switch.hpp>
#include <hone/peft/lora_config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// Where transformers keeps the embeddings of a Llama.
inline const std::string embedding_path = "model.embed_tokens";

template <class T, Device D>
class LoraEmbedding {
 public:
  using A = AdapterElement<T>;

  /// A zero and B normal, as PEFT draws them; both trainable. A is kept as a table, (vocab, r): files have it
  /// transposed.
  LoraEmbedding(const LoRA& config, const D& device, std::int64_t vocab, std::int64_t width,
                std::shared_ptr<AdapterSwitch> adapter)
      : config_(config),
        adapter_(std::move(adapter)),
        a_(Tensor<A, D>::empty(device, {vocab, config.r}, {Category::weights, "lora_embedding_A"})),
        b_(Tensor<A, D>::empty(device, {width, config.r}, {Category::weights, "lora_embedding_B"})) {
    fill(a_, A{0});
    fill_normal(b_, 1.0, config.seed, stream_of(embedding_path));
    make_trainable(a_);
    make_trainable(b_);
  }

  void apply(const LookupSite<T, D>& at) const {
    if (!adapter_->active) return;
    const double scale = config_.scale() * adapter_->weight;
    if (!adapter_->mixed) return add_product(embedding(at.ids, a_), b_, scale, at.y);
    check(!grad_enabled(), "[lora] rows of several adapters in one batch are for evaluation; guard it with no_grad");
    for (const TokenRange& range : adapter_->ranges) {
      auto rows = at.y.rows(range.begin, range.count);
      add_product(embedding(at.ids.rows(range.begin, range.count), a_), b_, scale, rows);
    }
  }
  BypassKind kind() const { return {"s B A[:, id]", Form::parallel, Composition::add}; }
  void visit(WeightVisitor<D> visitor) {
    visitor("lora_embedding_A", &a_);
    visitor("lora_embedding_B", &b_);
  }
  /// table (vocab, width) += s (B A)^T, rounded once.
  void merge(const Tensor<T, D>& table) const {
    gemm(a_, b_, table, {.transpose_b = true, .alpha = config_.scale() * adapter_->weight, .accumulate = true});
  }

  /// A as PEFT's files have it, (r, vocab), on the host; and back.
  std::vector<A> a_of_file() const { return transposed(a_.to_vector(), a_.extent(0), a_.extent(1)); }
  void set_a_of_file(const std::vector<A>& values) const {
    if (a_.data() != nullptr) a_.copy_from(transposed(values, a_.extent(1), a_.extent(0)));
  }

  const LoRA& config() const { return config_; }
  const AdapterSwitch& adapter() const { return *adapter_; }
  Tensor<A, D>& a() { return a_; }
  Tensor<A, D>& b() { return b_; }

 private:
  static std::vector<A> transposed(const std::vector<A>& in, std::int64_t rows, std::int64_t cols) {
    std::vector<A> out(in.size());
    if (in.empty()) return out;
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j)
        out[static_cast<std::size_t>(j * rows + i)] = in[static_cast<std::size_t>(i * cols + j)];
    return out;
  }

  LoRA config_;
  std::shared_ptr<AdapterSwitch> adapter_;
  Tensor<A, D> a_;  // (vocab, r)
  Tensor<A, D> b_;  // (width, r)
};

}  // namespace hone
