// Virtual rows: where a batch's rows lie once P virtual ones stand before those of every document, the copies from and
// to there, and what flows back to the virtual ones.
//   out[j] (+)= x[s], s = source[j] >= 0; table[-1 - s], s < 0     sum[v] (+)= d[keys[k] + v] over the documents k
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>

namespace hone {

namespace kernel {
struct VirtualLayout;
struct JoinRows;
struct SumVirtualRows;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int join_rows_threads = 256;

/// The first of `count` ascending values that is >= value; count where none is.
__device__ inline std::int64_t lower_bound(const std::int32_t* values, std::int64_t count, std::int64_t value) {
  std::int64_t low = 0, high = count;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (load(values + middle) < value)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct VirtualLayoutArgs {
  const std::int32_t* documents;  // (count + 1)
  std::int64_t count, per_document, tokens, entries, rows;
  std::int32_t *queries, *keys;  // (entries)
  std::int32_t* source;          // (rows)
  std::int32_t* place;           // (tokens)
};

/// One thread for every entry of the longest array. A document's number among those that are not empty is its number:
/// only trailing ones are empty.
template <int = 0>
__global__ void __launch_bounds__(join_rows_threads) virtual_layout_kernel(VirtualLayoutArgs args) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, p = args.per_document;
  const std::int64_t real = lower_bound(args.documents, args.count + 1, args.tokens);
  if (item < args.entries) {
    const std::int64_t d = item < args.count ? item : args.count, end = load(args.documents + d);
    store(args.queries + item, static_cast<std::int32_t>(end));
    store(args.keys + item, static_cast<std::int32_t>(item > args.count ? args.rows : end + p * (d < real ? d : real)));
  }
  if (item < args.tokens) {
    const std::int64_t d = lower_bound(args.documents, real + 1, item + 1);  // documents that have begun by item
    store(args.place + item, static_cast<std::int32_t>(item + d * p));
    store(args.source + item + d * p, static_cast<std::int32_t>(item));
  }
  if (item < real)
    for (std::int64_t v = 0; v < p; ++v)
      store(args.source + load(args.documents + item) + item * p + v, static_cast<std::int32_t>(-1 - v));
  if (item >= args.tokens + real * p && item < args.rows) store(args.source + item, std::int32_t{-1});
}

template <class T>
__global__ void __launch_bounds__(join_rows_threads)
    join_rows_kernel(Rows<const T> x, std::int64_t x_rows, Rows<const float> table, const std::int32_t* source,
                     Rows<T> out, std::int64_t rows, std::int64_t cols, bool accumulate) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * cols) return;
  const std::int64_t row = item / cols, col = item % cols, from = load(source + row);
  device_check(from < x_rows);
  T* to = out.row(row) + col;
  const float value = from >= 0 ? to_float(load(x.row(from) + col)) : load(table.row(-1 - from) + col);
  store(to, from_float<T>(accumulate ? to_float(load(to)) + value : value));
}

template <class T>
struct SumVirtualRowsArgs {
  Rows<const T> d;
  const std::int32_t *queries, *keys;  // (documents + 1)
  std::int64_t documents;
  Rows<float> sum;
  std::int64_t rows, cols;
  bool accumulate;
};

template <class T>
__global__ void __launch_bounds__(join_rows_threads) sum_virtual_rows_kernel(SumVirtualRowsArgs<T> args) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= args.rows * args.cols) return;
  const std::int64_t row = item / args.cols, col = item % args.cols;
  float* to = args.sum.row(row) + col;
  float total = args.accumulate ? load(to) : 0.0f;
  for (std::int64_t k = 0; k < args.documents; ++k)
    if (load(args.queries + k) < load(args.queries + k + 1))
      total += to_float(load(args.d.row(load(args.keys + k) + row) + col));
  store(to, total);
}

/// As on the processor: see cpu/join_rows.hpp.
template <int = 0>
void run(Tag<kernel::VirtualLayout>, KernelDevice& device, View<const std::int32_t, 1> documents,
         std::int64_t per_document, View<std::int32_t, 1> queries, View<std::int32_t, 1> keys,
         View<std::int32_t, 1> source, View<std::int32_t, 1> place) {
  const VirtualLayoutArgs args{.documents = documents.data,
                               .count = documents.extent(0) - 1,
                               .per_document = per_document,
                               .tokens = place.extent(0),
                               .entries = keys.extent(0),
                               .rows = source.extent(0),
                               .queries = queries.data,
                               .keys = keys.data,
                               .source = source.data,
                               .place = place.data};
  const std::int64_t longest = args.rows > args.entries ? args.rows : args.entries;
  launch(device, "virtual_layout", shape_for(longest, join_rows_threads), &virtual_layout_kernel<>, args);
}

/// out (M, C) = or += rows of x (N, C) and table (P, C), by source (M).
template <class T>
void run(Tag<kernel::JoinRows>, KernelDevice& device, In<T, 2> x, View<const float, 2> table,
         In<std::int32_t, 1> source, View<T, 2> out, bool accumulate) {
  const std::int64_t rows = out.rows(), cols = out.extent(1);
  check(source.packed() && source.extent(0) == rows, "[join_rows] {} row numbers for {} rows", source.extent(0), rows);
  if (rows * cols == 0) return;
  launch(device, "join_rows", shape_for(rows * cols, join_rows_threads), &join_rows_kernel<T>, rows_of(x), x.rows(),
         rows_of(table), source.data, rows_of(out), rows, cols, accumulate);
}

/// sum (P, C) = or += the virtual rows of d (M, C), over the documents in their order.
template <class T>
void run(Tag<kernel::SumVirtualRows>, KernelDevice& device, View<const T, 2> d, In<std::int32_t, 1> queries,
         In<std::int32_t, 1> keys, View<float, 2> sum, bool accumulate) {
  check(queries.packed() && keys.packed() && queries.extent(0) == keys.extent(0),
        "[sum_virtual_rows] {} ends of queries and {} of keys", queries.extent(0), keys.extent(0));
  const SumVirtualRowsArgs<T> args{.d = rows_of(d),
                                   .queries = queries.data,
                                   .keys = keys.data,
                                   .documents = keys.extent(0) - 1,
                                   .sum = rows_of(sum),
                                   .rows = sum.rows(),
                                   .cols = sum.extent(1),
                                   .accumulate = accumulate};
  if (args.rows * args.cols == 0) return;
  launch(device, "sum_virtual_rows", shape_for(args.rows * args.cols, join_rows_threads), &sum_virtual_rows_kernel<T>,
         args);
}

}  // namespace HONE_TARGET
}  // namespace hone
