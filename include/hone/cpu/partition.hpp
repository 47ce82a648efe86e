// How the CPU kernels cut their work. Everything here is a function of shapes alone, so that results are the same bits
// for any number of threads.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/tensor/device.hpp>
#include <hone/tensor/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hone::cpu {

/// A view nobody wants computed has no rows.
template <class T, int Rank>
HONE_ALWAYS_INLINE bool wanted(const View<T, Rank>& view) {
  return view.extent(0) > 0;
}

/// The elements of a vector that must lie side by side; `what` names it in the error.
template <class T>
T* packed_data(std::string_view what, const View<T, 1>& view) {
  check(view.packed(), "[{}] elements lie {} apart, wanted them side by side", what, view.stride);
  return view.data;
}

/// Rows one task takes: about 16,384 elements, enough to hide the hand-over of a task.
constexpr std::int64_t rows_per_task(std::int64_t cols) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, cols));
}

/// Calls body(first, last) for consecutive ranges that cover [0, count), each of at most `grain`.
template <class F>
void for_ranges(const Cpu& device, std::int64_t count, std::int64_t grain, F&& body) {
  device.pool().run(ceil_div(count, grain),
                    [&](std::int64_t task, int) { body(task * grain, std::min(count, (task + 1) * grain)); });
}

/// Calls body(row) for every row of a (rows, cols) tensor, several rows a task.
template <class F>
void for_rows(const Cpu& device, std::int64_t rows, std::int64_t cols, F&& body) {
  for_ranges(device, rows, rows_per_task(cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) body(row);
  });
}

/// Sums over rows (gradients of weights) go through at most this many partial rows, each over consecutive rows.
inline constexpr std::int64_t largest_partial_count = 32;
constexpr std::int64_t rows_per_partial(std::int64_t rows) {
  return std::max<std::int64_t>(16, ceil_div(rows, largest_partial_count));
}
constexpr std::int64_t partial_count(std::int64_t rows) { return ceil_div(rows, rows_per_partial(rows)); }

/// Bytes of the partial rows: double at most, whatever the element type, so that the plan need not know it.
constexpr std::int64_t partial_bytes(std::int64_t rows, std::int64_t cols) {
  return partial_count(rows) * cols * static_cast<std::int64_t>(sizeof(double));
}

/// The workspace as elements of S; throws when it holds fewer than `bytes` bytes.
template <class S>
S* workspace_as(std::string_view op, const View<std::byte, 1>& workspace, std::int64_t bytes) {
  check(workspace.extent(0) >= bytes, "[{}] workspace has {} bytes, wanted {}", op, workspace.extent(0), bytes);
  return reinterpret_cast<S*>(workspace.data);
}

/// out (+)= the sum of the `count` partial rows, always in the same order.
template <class S, class G>
void reduce_partials(const Cpu& device, const S* partials, std::int64_t count, const View<G, 1>& out, bool accumulate) {
  const std::int64_t cols = out.extent(0);
  for_ranges(device, cols, 1024, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t col = first; col < last; ++col) {
      S sum = accumulate ? static_cast<S>(out(col)) : S{0};
      for (std::int64_t part = 0; part < count; ++part) sum += partials[part * cols + col];
      out(col) = static_cast<G>(sum);
    }
  });
}

}  // namespace hone::cpu
