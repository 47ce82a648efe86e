// Output projection and cross-entropy in chunks of tokens; the (N, V) logits never exist.
//   z_n = W x_n        nll_n = logsumexp(z_n) - z_n[t_n]        loss = sum over supervised n
//   dz_n = softmax(z_n) - onehot(t_n)        dx_n = W^T dz_n        dW = sum over n of dz_n x_n^T
// While recording, dx and dW are formed chunk by chunk in the forward pass, where the logits are at hand (as Liger
// Kernel does, Hsu et al., 2024). dW goes straight into the weight's slot, which stays marked as pending until backward
// has run.
#pragma once

#include <hone/autograd/tape.hpp>
#include <hone/cpu/cross_entropy.hpp>
#include <hone/cpu/sum.hpp>
#include <hone/ops/embedding.hpp>
#include <hone/ops/gemm.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

namespace hone {

namespace kernel {
struct CrossEntropy {  ///< per logit: subtract, exp, add; for its gradient subtract, exp, scale
  static double flops(const auto& logits, const auto&, const auto&, bool write_gradient, double) {
    return flops_per_element(write_gradient ? 6 : 3, logits);
  }
  static Traffic traffic(const auto& logits, const auto& targets, const auto& losses, bool write_gradient, double) {
    return {bytes_of(logits) + bytes_of(targets), bytes_of(losses) + (write_gradient ? bytes_of(logits) : 0)};
  }
};
struct SumInOrder {
  static double flops(const auto& x, const auto&) { return flops_per_element(1, x); }
};
}  // namespace kernel

/// The supervised tokens of a batch: token rows[i] has to predict targets[i]. Buffers may be longer than `count`, so
/// that memory does not depend on how many tokens a batch supervises.
template <Device D>
struct Supervision {
  Tensor<std::int32_t, D> rows;     // (capacity)
  Tensor<std::int32_t, D> targets;  // (capacity)
  std::int64_t count = 0;
};

/// Tokens per chunk: `wanted`, or where that is 0 about 8 Mi logits, in multiples of 64; never more than there are.
inline std::int64_t cross_entropy_chunk(std::int64_t tokens, std::int64_t vocab, std::int64_t wanted = 0) {
  if (wanted == 0)
    wanted = std::max<std::int64_t>(64, (std::int64_t{8} << 20) / std::max<std::int64_t>(vocab, 1) / 64 * 64);
  return std::min(tokens, wanted);
}

namespace detail {

template <class T, Device D>
struct CrossEntropySaved {
  Tensor<T, D> dx;
  std::shared_ptr<GradientSlot<T, D>> x_slot, weight_slot;

  void backward(const Tensor<double, D>& dloss) const {
    if constexpr (!Copying<D>) {  // to ask a card for it would stall every step
      const double* seed = dloss.data();
      check(seed == nullptr || *seed == 1.0,
            "[lm_head_cross_entropy] its gradients are formed in the forward pass: scale them with grad_scale there, "
            "not with a cotangent of {}",
            seed == nullptr ? 1.0 : *seed);
    }
    if (weight_slot != nullptr) weight_slot->add_pending(-1);
    if (x_slot != nullptr) x_slot->absorb(dx);
  }
};

/// Scratch for the products of a chunk of any size up to `chunk`: the last one may be short, and a short product may
/// want more than a long one.
inline std::int64_t chunk_scratch(const Target& target, std::int64_t chunk, std::int64_t vocab, std::int64_t width) {
  using Key = std::tuple<DeviceKind, Isa, int, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  thread_local std::map<Key, std::int64_t> known;
  const Key key{target.kind, target.isa, target.threads, target.gemm_workspace, chunk, vocab, width};
  if (const auto found = known.find(key); found != known.end()) return found->second;
  const auto product = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
    return workspace_bytes(Tag<kernel::MatMul>{}, target, m, n, k);
  };
  std::int64_t bytes = 0;
  for (std::int64_t count = 1; count <= chunk; ++count)
    bytes = std::max({bytes, product(count, vocab, width), product(count, width, vocab), product(vocab, width, count)});
  return known[key] = bytes;
}

/// One run over the supervised tokens. Every buffer is taken before the first chunk, so that what is allocated depends
/// on the shapes alone and not on how many tokens are supervised.
template <class T, Device D>
class ChunkedCrossEntropy {
 public:
  using S = Accumulator<T>;

  /// `dx` (N, C), if defined, and `weight_slot`, if any, receive gradients of grad_scale times the loss.
  ChunkedCrossEntropy(const Tensor<T, D>& x, const Tensor<T, D>& weight, double grad_scale, Tensor<T, D> dx,
                      std::shared_ptr<GradientSlot<T, D>> weight_slot, std::int64_t chunk)
      : x_(x.detached()),
        weight_(weight.detached()),
        dx_(std::move(dx)),
        weight_slot_(std::move(weight_slot)),
        grad_scale_(grad_scale),
        chunk_(cross_entropy_chunk(x.extent(0), weight.extent(0), chunk)) {
    const D& device = x.device();
    const std::int64_t width = x.extent(1), vocab = weight.extent(0);
    rows_x_ = Tensor<T, D>::empty(device, {chunk_, width}, {Category::workspace, "lm_head.x"});
    logits_ = Tensor<S, D>::empty(device, {chunk_, vocab}, {Category::workspace, "lm_head.logits"});
    if (dx_.defined()) {
      rows_dx_ = Tensor<T, D>::empty(device, {chunk_, width}, {Category::workspace, "lm_head.dx"});
      fill(dx_, T(0.0f));
    }
    scratch_ = make_workspace(device, chunk_scratch(device.target(), chunk_, vocab, width), "lm_head.gemm");
  }

  /// losses[i] = negative log-likelihood of supervised token i.
  void run(const Supervision<D>& supervision, const Tensor<S, D>& losses) const {
    for (std::int64_t begin = 0; begin < supervision.count; begin += chunk_) {
      const std::int64_t count = std::min(chunk_, supervision.count - begin);
      run_chunk(supervision.rows.rows(begin, count), supervision.targets.rows(begin, count), losses.rows(begin, count));
    }
  }

 private:
  void run_chunk(const Tensor<std::int32_t, D>& rows, const Tensor<std::int32_t, D>& targets,
                 const Tensor<S, D>& losses) const {
    const D& device = x_.device();
    const std::int64_t count = rows.extent(0);
    const auto in = rows_x_.rows(0, count);      // (n, C)
    const auto logits = logits_.rows(0, count);  // (n, V), then their gradient
    run_kernel<kernel::EmbeddingForward>(device, rows.template in<1>(), x_.template in<2>(), in.template view<2>());
    gemm(in, weight_, logits, {.transpose_b = true}, scratch_);
    run_kernel<kernel::CrossEntropy>(device, logits.template view<2>(), targets.template in<1>(),
                                     losses.template view<1>(), dx_.defined() || weight_slot_ != nullptr, grad_scale_);
    if (dx_.defined()) {
      const auto out = rows_dx_.rows(0, count);
      gemm(logits, weight_, out, {}, scratch_);
      run_kernel<kernel::EmbeddingBackward>(device, rows.template in<1>(), out.template in<2>(), dx_.template view<2>(),
                                            true);
    }
    if (weight_slot_ != nullptr)
      weight_slot_->contribute_weight(device, [&](const auto& dw, bool accumulate) {
        gemm(logits, in, dw, {.transpose_a = true, .accumulate = accumulate}, scratch_);
      });
  }

  Tensor<T, D> x_, weight_, dx_;
  std::shared_ptr<GradientSlot<T, D>> weight_slot_;
  double grad_scale_;
  std::int64_t chunk_;
  Tensor<T, D> rows_x_, rows_dx_;
  Tensor<S, D> logits_;
  Tensor<std::byte, D> scratch_;
};

template <class T, Device D>
void check_cross_entropy(const Tensor<T, D>& x, const Tensor<T, D>& weight, const Supervision<D>& supervision,
                         std::int64_t chunk) {
  check(chunk >= 0, "[lm_head_cross_entropy] a chunk of {} tokens: wanted at least 1, or 0 for the automatic size",
        chunk);
  check(x.rank() == 2 && weight.rank() == 2 && x.extent(1) == weight.extent(1),
        "[lm_head_cross_entropy] weight {} must have the columns of x {}", weight.shape(), x.shape());
  check(supervision.count <= supervision.rows.extent(0) && supervision.count <= supervision.targets.extent(0),
        "[lm_head_cross_entropy] {} supervised tokens, but buffers for {}", supervision.count,
        supervision.rows.extent(0));
}

}  // namespace detail

/// Negative log-likelihood of each supervised token, (capacity) of which the first `count` are set. `chunk` tokens go
/// through the projection at a time, 0: see cross_entropy_chunk. Not differentiated.
template <class T, Device D>
Tensor<Accumulator<T>, D> lm_head_losses(const Tensor<T, D>& x, const Tensor<T, D>& weight,
                                         const Supervision<D>& supervision, std::int64_t chunk = 0) {
  detail::check_cross_entropy(x, weight, supervision, chunk);
  auto losses =
      Tensor<Accumulator<T>, D>::empty(x.device(), {supervision.rows.extent(0)}, {Category::activations, "losses"});
  detail::ChunkedCrossEntropy<T, D>(x, weight, 1.0, {}, nullptr, chunk).run(supervision, losses);
  return losses;
}

/// Sum of the supervised tokens' negative log-likelihoods, (1), in double. x (N, C), weight (V, C). Its gradient is
/// that of grad_scale times the sum, and starts from a cotangent of exactly 1. `chunk` tokens go through the projection
/// at a time, 0: see cross_entropy_chunk. Its size does not change the result but for rounding: the weight's gradient
/// is summed chunk by chunk.
template <class T, Device D>
Tensor<double, D> lm_head_cross_entropy(const Tensor<T, D>& x, const Tensor<T, D>& weight,
                                        const Supervision<D>& supervision, double grad_scale = 1.0,
                                        std::int64_t chunk = 0) {
  detail::check_cross_entropy(x, weight, supervision, chunk);
  const D& device = x.device();
  const bool differentiate = records(x, weight);
  auto total = Tensor<double, D>::empty(device, {1}, {Category::activations, "loss"});
  auto losses =
      Tensor<Accumulator<T>, D>::empty(device, {supervision.rows.extent(0)}, {Category::activations, "losses"});
  Tensor<T, D> dx;
  if (differentiate && x.requires_grad())
    dx = Tensor<T, D>::empty(device, x.shape(), {Category::activations, "lm_head.dx"});
  const auto weight_slot = differentiate ? weight.slot() : nullptr;
  detail::ChunkedCrossEntropy<T, D>(x, weight, grad_scale, dx, weight_slot, chunk).run(supervision, losses);
  run_kernel<kernel::SumInOrder>(device, losses.rows(0, supervision.count).template in<1>(), total.template view<1>());
  if (!differentiate) return total;
  if (weight_slot != nullptr) weight_slot->add_pending(1);
  record(detail::CrossEntropySaved<T, D>{dx, x.slot(), weight_slot}, total);
  return total;
}

}  // namespace hone
