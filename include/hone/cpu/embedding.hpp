// Embedding on the CPU: rows of a table by id, and the sum of gradients back into the rows.
//   y[n] = table[ids[n]];  dtable[v] = sum of dy[n] over the n with ids[n] == v
#pragma once

#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>

#include <array>

namespace hone {

namespace kernel {
struct EmbeddingForward;
struct EmbeddingBackward;
}  // namespace kernel

namespace cpu {

inline void check_ids(View<const std::int32_t, 1> ids, std::int64_t vocabulary) {
  for (std::int64_t n = 0; n < ids.extent(0); ++n)
    check(ids(n) >= 0 && ids(n) < vocabulary, "[embedding] id {} at position {} is outside the table of {} rows",
          ids(n), n, vocabulary);
}

inline constexpr std::int64_t embedding_columns = 128;  // columns one task of the backward pass owns
inline constexpr std::int64_t embedding_tokens = 1024;  // tokens whose repeated ids are summed before one rounding

/// Columns [first, last) of dtable += dy, token after token: exact enough when the table sums in S itself.
template <class T, class G>
void embedding_add(View<const std::int32_t, 1> ids, View<const T, 2> dy, View<G, 2> dtable, std::int64_t first,
                   std::int64_t last) {
  for (std::int64_t n = 0; n < ids.extent(0); ++n) {
    const T* from = dy.row(n);
    G* to = dtable.row(ids(n));
    for (std::int64_t col = first; col < last; ++col) to[col] = static_cast<G>(to[col] + static_cast<G>(from[col]));
  }
}

/// The same for a table narrower than its sums (bf16): a frequent id would lose its small addends to rounding, so the
/// equal ids of a block of tokens are brought together, summed in S, and added in one rounding.
template <class T, class G>
void embedding_add_grouped(View<const std::int32_t, 1> ids, View<const T, 2> dy, View<G, 2> dtable, std::int64_t first,
                           std::int64_t last) {
  using S = Accumulator<G>;
  std::array<std::int64_t, embedding_tokens> order;  // id and offset in one number, so that equal ids keep their order
  std::array<S, embedding_columns> sum;
  for (std::int64_t begin = 0; begin < ids.extent(0); begin += embedding_tokens) {
    const std::int64_t count = std::min(embedding_tokens, ids.extent(0) - begin);
    for (std::int64_t i = 0; i < count; ++i)
      order[static_cast<std::size_t>(i)] = std::int64_t{ids(begin + i)} * embedding_tokens + i;
    std::sort(order.begin(), order.begin() + count);
    for (std::int64_t i = 0; i < count;) {
      const std::int64_t id = order[static_cast<std::size_t>(i)] / embedding_tokens;
      std::fill(sum.begin(), sum.end(), S{0});
      for (; i < count && order[static_cast<std::size_t>(i)] / embedding_tokens == id; ++i) {
        const T* from = dy.row(begin + order[static_cast<std::size_t>(i)] % embedding_tokens) + first;
        for (std::int64_t col = 0; col < last - first; ++col)
          sum[static_cast<std::size_t>(col)] += static_cast<S>(from[col]);
      }
      G* to = dtable.row(id) + first;
      for (std::int64_t col = 0; col < last - first; ++col)
        to[col] = static_cast<G>(static_cast<S>(to[col]) + sum[static_cast<std::size_t>(col)]);
    }
  }
}

}  // namespace cpu

/// y (N, C) = table[ids]. Throws on an id outside the table.
template <class T>
void run(Tag<kernel::EmbeddingForward>, Cpu& device, In<std::int32_t, 1> ids, In<T, 2> table, View<T, 2> y) {
  cpu::check_ids(ids, table.rows());
  cpu::for_rows(device, ids.extent(0), y.extent(1),
                [&](std::int64_t n) { std::copy_n(table.row(ids(n)), y.extent(1), y.row(n)); });
}

/// dtable (V, C) = or += the rows of dy by id. Each task owns columns and walks the tokens in order: no atomics.
template <class T, class G>
void run(Tag<kernel::EmbeddingBackward>, Cpu& device, In<std::int32_t, 1> ids, View<const T, 2> dy, View<G, 2> dtable,
         bool accumulate) {
  cpu::check_ids(ids, dtable.rows());
  const std::int64_t cols = dtable.extent(1);
  if (!accumulate)
    cpu::for_rows(device, dtable.rows(), cols, [&](std::int64_t row) { std::fill_n(dtable.row(row), cols, G{}); });
  cpu::for_ranges(device, cols, cpu::embedding_columns, [&](std::int64_t first, std::int64_t last) {
    if constexpr (std::is_same_v<G, Accumulator<G>>)
      cpu::embedding_add<T, G>(ids, dy, dtable, first, last);
    else
      cpu::embedding_add_grouped<T, G>(ids, dy, dtable, first, last);
  });
}

}  // namespace hone
