// Virtual rows on the processor: where a batch's rows lie once P virtual ones stand before those of every document, the
// copies from and to there, and what flows back to the virtual ones.
#pragma once

#include <hone/cpu/fill_copy.hpp>

namespace hone {

namespace kernel {
struct VirtualLayout;
struct JoinRows;
struct SumVirtualRows;
}  // namespace kernel

/// From the cumulative lengths `documents` (D + 1) of N tokens, whose trailing documents may be empty, to
///   keys (D + 1): the same with P more rows in every document that is not empty; D + 2 entries end in the rows of
///   source queries: documents, its last entry repeated as often as keys is longer source (M): row j is token s >= 0 or
///   virtual row -1 - s; what lies behind the last document counts as row -1 place (N): the row that token n came to
inline void run(Tag<kernel::VirtualLayout>, Cpu&, View<const std::int32_t, 1> documents, std::int64_t per_document,
                View<std::int32_t, 1> queries, View<std::int32_t, 1> keys, View<std::int32_t, 1> source,
                View<std::int32_t, 1> place) {
  const std::int64_t count = documents.extent(0) - 1;
  std::int32_t row = 0;
  for (std::int64_t d = 0; d < count; ++d) {
    queries(d) = documents(d);
    keys(d) = row;
    if (documents(d) == documents(d + 1)) continue;
    for (std::int64_t v = 0; v < per_document; ++v) source(row++) = static_cast<std::int32_t>(-1 - v);
    for (std::int32_t token = documents(d); token < documents(d + 1); ++token) {
      place(token) = row;
      source(row++) = token;
    }
  }
  queries(count) = documents(count);
  keys(count) = row;
  for (std::int64_t at = row; at < source.extent(0); ++at) source(at) = -1;
  for (std::int64_t d = count + 1; d < keys.extent(0); ++d) {
    queries(d) = documents(count);
    keys(d) = static_cast<std::int32_t>(source.extent(0));
  }
}

/// out[j] (+)= x[s] with s = source[j] where s >= 0, table[-1 - s] where not. x (N, C), table (P, C), out (M, C).
template <class T, class A>
void run(Tag<kernel::JoinRows>, Cpu& device, In<T, 2> x, View<const A, 2> table, In<std::int32_t, 1> source,
         View<T, 2> out, bool accumulate) {
  using S = Accumulator<T>;
  cpu::for_row_pieces(device, out, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    const std::int64_t from = source(row);
    check(from < x.rows() && -1 - from < table.rows(), "[join_rows] row {} of tables with {} and {} rows", from,
          x.rows(), table.rows());
    T* sink = out.row(row);
    const auto write = [&](const auto* values) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto value = static_cast<S>(values[i]);
        sink[i] = static_cast<T>(accumulate ? static_cast<S>(sink[i]) + value : value);
      }
    };
    from >= 0 ? write(x.row(from)) : write(table.row(-1 - from));
  });
}

/// sum[v] (+)= d[keys[k] + v] summed over the documents k that have queries, in their order. sum (P, C), d (M, C).
template <class T, class A>
void run(Tag<kernel::SumVirtualRows>, Cpu& device, View<const T, 2> d, In<std::int32_t, 1> queries,
         In<std::int32_t, 1> keys, View<A, 2> sum, bool accumulate) {
  cpu::for_row_pieces(device, sum, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      A total = accumulate ? sum(row, i) : A{0};
      for (std::int64_t k = 0; k + 1 < keys.extent(0); ++k)
        if (queries(k) < queries(k + 1)) total += static_cast<A>(d(keys(k) + row, i));
      sum(row, i) = total;
    }
  });
}

}  // namespace hone
