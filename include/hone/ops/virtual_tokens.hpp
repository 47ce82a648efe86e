// Virtual tokens: P trained rows before the rows of every document.
//   virtual_embedding:    as input embeddings, by negative ids in the batch
//   prefixed_attention:   as keys and values that the queries of a document see before its own
// Their gradients are those of their copies, summed over the documents in their order.
#pragma once

#include <hone/cpu/join_rows.hpp>
#include <hone/ops/attention.hpp>

#include <cstdint>
#include <memory>

namespace hone {

namespace kernel {
struct JoinRows {  ///< moves what it writes, once
  static double flops(const auto&, const auto&, const auto&, const auto& out, bool accumulate) {
    return accumulate ? flops_per_element(1, out) : 0;
  }
  static Traffic traffic(const auto&, const auto&, const auto& source, const auto& out, bool accumulate) {
    return {bytes_of(source) + bytes_of(out) * (accumulate ? 2 : 1), bytes_of(out)};
  }
};
struct SumVirtualRows {
  static double flops(const auto&, const auto& queries, const auto&, const auto& sum, bool) {
    return static_cast<double>(queries.elements() - 1) * static_cast<double>(sum.elements());
  }
  static Traffic traffic(const auto& d, const auto& queries, const auto&, const auto& sum, bool accumulate) {
    const std::int64_t each = d.elements() == 0 ? 0 : bytes_of(d) / d.elements();
    return {(queries.elements() - 1) * sum.elements() * each + (accumulate ? bytes_of(sum) : 0), bytes_of(sum)};
  }
};
struct VirtualLayout {};  ///< integers
}  // namespace kernel

/// Where the rows of a batch lie once P virtual rows stand before those of every document.
template <Device D>
struct VirtualRows {
  std::int64_t per_document = 0;          ///< P
  std::int64_t capacity = 0;              ///< rows that a joined buffer is given, whatever documents this batch has
  Tensor<std::int32_t, D> source;         ///< (M): token s >= 0, or virtual row -1 - s
  Tensor<std::int32_t, D> place;          ///< (N): the row that token n came to
  Tensor<std::int32_t, D> queries, keys;  ///< cumulative lengths of the tokens and of the joined rows

  std::int64_t rows() const { return source.extent(0); }
};

/// The layout of `tokens` tokens in `documents` (cumulative lengths; trailing documents may be empty), `count` of which
/// are not empty. Memory is sized by the tokens and by `most_documents` alone. `fixed`: so are the shapes, the rows
/// that are too many belonging to a document without tokens.
template <Device D>
VirtualRows<D> virtual_rows(const Tensor<std::int32_t, D>& documents, std::int64_t tokens, std::int64_t count,
                            std::int64_t most_documents, std::int64_t per_document, bool fixed) {
  const D& device = documents.device();
  const auto ids = [&](std::int64_t extent) {
    return Tensor<std::int32_t, D>::empty(device, {extent}, {Category::activations, "virtual_rows"});
  };
  VirtualRows<D> out{per_document, tokens + per_document * std::max(count, most_documents), {}, {}, {}, {}};
  const std::int64_t entries = documents.extent(0) + (fixed ? 1 : 0);
  out.source = ids(out.capacity).rows(0, fixed ? out.capacity : tokens + per_document * count);
  out.place = ids(tokens);
  out.queries = ids(tokens + 2).rows(0, entries);
  out.keys = ids(tokens + 2).rows(0, entries);
  run_kernel<kernel::VirtualLayout>(device, documents.template in<1>(), per_document, out.queries.template view<1>(),
                                    out.keys.template view<1>(), out.source.template view<1>(),
                                    out.place.template view<1>());
  return out;
}

namespace detail {

/// Adds to columns [begin, begin + C) of a table's gradient the rows of d (M, C) that were copies of them.
template <class T, Device D>
void add_virtual_rows(GradientSlot<Accumulator<T>, D>& slot, std::int64_t begin, const Tensor<T, D>& d,
                      const Tensor<std::int32_t, D>& queries, const Tensor<std::int32_t, D>& keys) {
  using A = Accumulator<T>;
  slot.contribute(d.device(), [&](const Tensor<A, D>& sum, bool accumulate) {
    const bool whole = d.extent(1) == sum.extent(1);
    if (!accumulate && !whole) fill(sum, A{0});
    run_kernel<kernel::SumVirtualRows>(d.device(), d.template in<2>(), queries.template in<1>(), keys.template in<1>(),
                                       sum.columns(begin, d.extent(1)).template view<2>(), accumulate || !whole);
  });
}

template <class T, Device D>
struct VirtualEmbeddingSaved {
  Tensor<std::int32_t, D> documents;
  std::shared_ptr<GradientSlot<Accumulator<T>, D>> slot;
  void backward(const Tensor<T, D>& dy) const { add_virtual_rows(*slot, 0, dy, documents, documents); }
};

template <class T, Device D>
struct PrefixedAttentionSaved {
  AttentionShape shape;
  Tensor<T, D> qkv, kv, out;
  Tensor<Accumulator<T>, D> lse;
  VirtualRows<D> layout;
  std::int64_t begin;
  std::shared_ptr<GradientSlot<T, D>> slot;
  std::shared_ptr<GradientSlot<Accumulator<T>, D>> table_slot;

  void backward(const Tensor<T, D>& dout) const {
    const D& device = dout.device();
    const std::int64_t width = shape.kv_heads * shape.head_dim, q_width = shape.heads * shape.head_dim;
    const auto all = Tensor<T, D>::empty(device, {layout.capacity, 2 * width}, {Category::activations, "prefix.dkv"});
    const auto dkv = all.rows(0, layout.rows());
    const auto scratch = make_workspace(
        device, workspace_bytes(Tag<kernel::AttentionBackward>{}, device.target(), shape, qkv.extent(0)), "attention");
    const auto run_backward = [&](View<T, 2> dq, bool accumulate) {
      if (accumulate) fill(dkv, T(0));
      run_kernel<kernel::AttentionBackward>(
          device, shape, dout.template in<2>(), qkv.columns(0, q_width).template in<2>(),
          kv.columns(0, width).template in<2>(), kv.columns(width, width).template in<2>(), out.template in<2>(),
          lse.template in<2>(), layout.queries.template in<1>(), layout.keys.template in<1>(), dq,
          dkv.columns(0, width).template view<2>(), dkv.columns(width, width).template view<2>(), accumulate,
          scratch.template view<1>());
    };
    if (slot != nullptr) {
      slot->contribute(device, [&](const Tensor<T, D>& dqkv, bool accumulate) {
        run_backward(dqkv.columns(0, q_width).template view<2>(), accumulate);
        run_kernel<kernel::JoinRows>(device, dkv.template in<2>(), View<const Accumulator<T>, 2>{},
                                     layout.place.template in<1>(), dqkv.columns(q_width, 2 * width).template view<2>(),
                                     accumulate);
      });
    } else {
      run_backward(View<T, 2>{}, false);
    }
    if (table_slot != nullptr) add_virtual_rows(*table_slot, begin, dkv, layout.queries, layout.keys);
  }
};

}  // namespace detail

/// Rows of an embedding table (V, C) by id, and for id -1 - v row v of `rows` (P, C), rounded to the table's type: ids
/// (N) begin with -1, ..., -P in every document that is not empty. Only `rows` gets a gradient: the table is frozen.
template <class T, Device D>
Tensor<T, D> virtual_embedding(const Tensor<std::int32_t, D>& ids, const Tensor<std::int32_t, D>& documents,
                               const Tensor<T, D>& table, const Tensor<Accumulator<T>, D>& rows) {
  check(rows.rank() == 2 && table.rank() == 2 && rows.extent(1) == table.extent(1),
        "[virtual_embedding] virtual rows {} do not fit a table {}", rows.shape(), table.shape());
  check(!records(table), "[virtual_embedding] the embedding table beside virtual tokens must be frozen");
  auto y = Tensor<T, D>::empty(table.device(), {ids.extent(0), table.extent(1)}, {Category::activations, "embedding"});
  run_kernel<kernel::JoinRows>(table.device(), table.template in<2>(), rows.template in<2>(), ids.template in<1>(),
                               y.template view<2>(), false);
  if (records(rows)) record(detail::VirtualEmbeddingSaved<T, D>{documents, rows.slot()}, y);
  return y;
}

/// Rows of x (M, C) by number. Nothing is recorded.
template <class T, Device D>
Tensor<T, D> take_rows(const Tensor<T, D>& x, const Tensor<std::int32_t, D>& numbers) {
  auto y = Tensor<T, D>::empty(x.device(), {numbers.extent(0), x.extent(1)}, {Category::activations, "taken"});
  run_kernel<kernel::JoinRows>(x.device(), x.template in<2>(), View<const Accumulator<T>, 2>{},
                               numbers.template in<1>(), y.template view<2>(), false);
  return y;
}

/// Self-attention within each document, whose queries also see the virtual keys and values before it: columns
/// [begin, begin + 2 kv_heads head_dim) of `table` (P, ...), K then V, in the position of the P tokens before the
/// document's own. qkv (N, (heads + 2 kv_heads) head_dim). Returns (N, heads head_dim).
template <class T, Device D>
Tensor<T, D> prefixed_attention(const Tensor<T, D>& qkv, const Tensor<Accumulator<T>, D>& table, std::int64_t begin,
                                const VirtualRows<D>& layout, const AttentionShape& shape) {
  const std::int64_t width = shape.kv_heads * shape.head_dim, q_width = shape.heads * shape.head_dim;
  check(qkv.rank() == 2 && qkv.extent(1) == q_width + 2 * width && table.rank() == 2 &&
            table.extent(0) == layout.per_document && begin + 2 * width <= table.extent(1),
        "[attention] a prefix {} does not fit qkv {} from column {}", table.shape(), qkv.shape(), begin);
  const D& device = qkv.device();
  const std::int64_t tokens = qkv.extent(0);
  auto out = Tensor<T, D>::empty(device, {tokens, q_width}, {Category::activations, "attention"});
  auto lse = Tensor<Accumulator<T>, D>::empty(device, {shape.heads, tokens}, {Category::activations, "attention.lse"});
  const auto all = Tensor<T, D>::empty(device, {layout.capacity, 2 * width}, {Category::activations, "prefix.kv"});
  const auto kv = all.rows(0, layout.rows());
  run_kernel<kernel::JoinRows>(device, qkv.columns(q_width, 2 * width).template in<2>(),
                               table.columns(begin, 2 * width).template in<2>(), layout.source.template in<1>(),
                               kv.template view<2>(), false);
  {
    const auto scratch = make_workspace(
        device, workspace_bytes(Tag<kernel::AttentionForward>{}, device.target(), shape, tokens), "attention");
    run_kernel<kernel::AttentionForward>(
        device, shape, qkv.columns(0, q_width).template in<2>(), kv.columns(0, width).template in<2>(),
        kv.columns(width, width).template in<2>(), layout.queries.template in<1>(), layout.keys.template in<1>(),
        out.template view<2>(), lse.template view<2>(), scratch.template view<1>());
  }
  if (records(qkv, table))
    record(detail::PrefixedAttentionSaved<T, D>{shape, qkv.detached(), kv, out.detached(), lse, layout, begin,
                                                qkv.slot(), table.slot()},
           out);
  return out;
}

}  // namespace hone
