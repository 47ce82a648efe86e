// Causal attention over packed documents, never forming the N x N scores (FlashAttention: Dao et al., 2022; Dao, 2023).
//   S = scale q k^T (masked)    P = exp(S - lse)    out = P v
//   dv = P^T dout    dS = P * (dout v^T - rowsum(dout * out))    dq = scale dS k    dk = scale dS^T q
#pragma once

#include <hone/autograd/tape.hpp>
#include <hone/cpu/attention_decode.hpp>
#include <hone/ops/gemm.hpp>
#include <hone/tensor/attention_shape.hpp>
#include <hone/tensor/gpu_workspace.hpp>

#include <memory>

namespace hone {

namespace kernel {
// A (query, key) pair of a head takes products of head_dim multiply-adds each: two forward (q k^T, P v); backward three
// for dK and dV (q k^T and dout v^T again, both needed in each pass) plus one each, and three in the pass for dQ:
// seven. Beside them 4 FLOPs for its softmax (scale, subtract, exp, add), 5 in each pass back (scale, subtract, exp,
// subtract, multiply); and 2 per element of dout for rowsum(dout * out). On Meta cumulative lengths have no values:
// documents are taken as equally long.
struct AttentionForward {
  static double flops(const AttentionShape& shape, const auto& q, const auto& k, const auto&, const auto& documents,
                      const auto&...) {
    return per_pair(shape, q, k, documents, 2 * 2, 4);
  }
  static double per_pair(const AttentionShape& shape, const auto& q, const auto& k, const auto& documents,
                         std::int64_t per_column, std::int64_t besides) {
    const std::int64_t pairs = visible_pairs(shape, documents.extent(0) - 1, q.rows(), k.rows());
    return static_cast<double>(pairs) * static_cast<double>(shape.heads * (per_column * shape.head_dim + besides));
  }
};
struct AttentionDecode : AttentionForward {};  ///< of one new token
struct AttentionBackward {
  static double flops(const AttentionShape& shape, const auto& dout, const auto& q, const auto& k, const auto&,
                      const auto&, const auto&, const auto& documents, const auto&...) {
    return AttentionForward::per_pair(shape, q, k, documents, 7 * 2, 2 * 5) + flops_per_element(2, dout);
  }
};
}  // namespace kernel

/// Scratch bytes of the forward pass of `queries` tokens on `target`.
inline std::int64_t workspace_bytes(Tag<kernel::AttentionForward>, const Target& target, const AttentionShape& shape,
                                    std::int64_t queries) {
  return target.kind == DeviceKind::cpu ? attention_forward_workspace_bytes(target, shape, queries)
                                        : gpu::attention_forward_workspace_bytes(target, shape, queries);
}

/// The same of one new token.
inline std::int64_t workspace_bytes(Tag<kernel::AttentionDecode>, const Target& target, const AttentionShape& shape) {
  return target.kind == DeviceKind::cpu ? attention_forward_workspace_bytes(target, shape, 1)
                                        : gpu::attention_decode_workspace_bytes(target, shape);
}

/// The same of the backward pass.
inline std::int64_t workspace_bytes(Tag<kernel::AttentionBackward>, const Target& target, const AttentionShape& shape,
                                    std::int64_t queries) {
  return target.kind == DeviceKind::cpu ? attention_backward_workspace_bytes(target, shape, queries)
                                        : gpu::attention_backward_workspace_bytes(target, shape, queries);
}

namespace detail {

template <class T, Device D>
struct Heads {
  Tensor<T, D> q, k, v;  // column ranges of one fused tensor
};

template <class T, Device D>
Heads<T, D> split_heads(const Tensor<T, D>& qkv, const AttentionShape& shape) {
  const std::int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  return {qkv.columns(0, q), qkv.columns(q, kv), qkv.columns(q + kv, kv)};
}

template <class T, Device D>
struct AttentionSaved {
  AttentionShape shape;
  Tensor<T, D> qkv, out;
  Tensor<Accumulator<T>, D> lse;
  Tensor<std::int32_t, D> documents;
  std::shared_ptr<GradientSlot<T, D>> slot;

  void backward(const Tensor<T, D>& dout) const {
    const D& device = dout.device();
    const auto scratch = make_workspace(
        device, workspace_bytes(Tag<kernel::AttentionBackward>{}, device.target(), shape, qkv.extent(0)), "attention");
    const auto in = split_heads(qkv, shape);
    slot->contribute(device, [&](const Tensor<T, D>& dqkv, bool accumulate) {
      const auto gradient = split_heads(dqkv, shape);
      run_kernel<kernel::AttentionBackward>(
          device, shape, dout.template in<2>(), in.q.template in<2>(), in.k.template in<2>(), in.v.template in<2>(),
          out.template in<2>(), lse.template in<2>(), documents.template in<1>(), documents.template in<1>(),
          gradient.q.template view<2>(), gradient.k.template view<2>(), gradient.v.template view<2>(), accumulate,
          scratch.template view<1>());
    });
  }
};

}  // namespace detail

/// Self-attention within each document. qkv (N, (heads + 2 kv_heads) head_dim); documents = cumulative lengths
/// {0, ..., N}. Returns (N, heads head_dim).
template <class T, Device D>
Tensor<T, D> attention(const Tensor<T, D>& qkv, const Tensor<std::int32_t, D>& documents, const AttentionShape& shape) {
  check(qkv.rank() == 2 && shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 &&
            qkv.extent(1) == (shape.heads + 2 * shape.kv_heads) * shape.head_dim,
        "[attention] qkv {} must have ({} + 2 x {}) heads of {} columns", qkv.shape(), shape.heads, shape.kv_heads,
        shape.head_dim);
  const D& device = qkv.device();
  const std::int64_t tokens = qkv.extent(0);
  auto out = Tensor<T, D>::empty(device, {tokens, shape.heads * shape.head_dim}, {Category::activations, "attention"});
  auto lse = Tensor<Accumulator<T>, D>::empty(device, {shape.heads, tokens}, {Category::activations, "attention.lse"});
  const auto in = detail::split_heads(qkv, shape);
  {
    const auto scratch = make_workspace(
        device, workspace_bytes(Tag<kernel::AttentionForward>{}, device.target(), shape, tokens), "attention");
    run_kernel<kernel::AttentionForward>(device, shape, in.q.template in<2>(), in.k.template in<2>(),
                                         in.v.template in<2>(), documents.template in<1>(), documents.template in<1>(),
                                         out.template view<2>(), lse.template view<2>(), scratch.template view<1>());
  }
  if (records(qkv))
    record(detail::AttentionSaved<T, D>{shape, qkv.detached(), out.detached(), lse, documents, qkv.slot()}, out);
  return out;
}

/// Attention of new tokens against cached keys and values of one sequence (no gradient): q (n, heads head_dim), k and v
/// (past + n, kv_heads head_dim). Query i sees keys up to past + i.
template <class T, Device D>
Tensor<T, D> attention_cached(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v,
                              const Tensor<std::int32_t, D>& q_range, const Tensor<std::int32_t, D>& k_range,
                              const AttentionShape& shape) {
  const D& device = q.device();
  auto out =
      Tensor<T, D>::empty(device, {q.extent(0), shape.heads * shape.head_dim}, {Category::activations, "attention"});
  if (q.extent(0) == 1) {
    const auto scratch =
        make_workspace(device, workspace_bytes(Tag<kernel::AttentionDecode>{}, device.target(), shape), "attention");
    run_kernel<kernel::AttentionDecode>(device, shape, q.template in<2>(), k.template in<2>(), v.template in<2>(),
                                        q_range.template in<1>(), k_range.template in<1>(), out.template view<2>(),
                                        scratch.template view<1>());
    return out;
  }
  auto lse =
      Tensor<Accumulator<T>, D>::empty(device, {shape.heads, q.extent(0)}, {Category::activations, "attention.lse"});
  const auto scratch = make_workspace(
      device, workspace_bytes(Tag<kernel::AttentionForward>{}, device.target(), shape, q.extent(0)), "attention");
  run_kernel<kernel::AttentionForward>(device, shape, q.template in<2>(), k.template in<2>(), v.template in<2>(),
                                       q_range.template in<1>(), k_range.template in<1>(), out.template view<2>(),
                                       lse.template view<2>(), scratch.template view<1>());
  return out;
}

}  // namespace hone
