// Many tensors in one launch: what the optimizer's kernels share.
#pragma once

#include <hone/device/launch.cuh>

#include <cstddef>
#include <cstdint>
#include <span>

namespace hone {
inline namespace HONE_TARGET {

/// Bytes of arguments a launch takes, since CUDA 12.1.
inline constexpr std::size_t most_argument_bytes = 32764;

/// A launch's tensors travel as its argument: nothing to upload, nothing to allocate. Blocks are dealt out tensor by
/// tensor; record i has those from first_block on.
template <class Common, class Record>
struct TensorTable {
  static constexpr int capacity = static_cast<int>((most_argument_bytes - sizeof(Common) - 16) / sizeof(Record));

  Common common;
  int count;
  Record records[capacity];

  /// The record that has block `block`.
  __device__ const Record& of_block(unsigned block) const {
    int first = 0;
    for (int left = count; left > 1;) {
      const int step = left / 2;
      if (records[first + step].first_block <= block) first += step;
      left -= step;
    }
    return records[first];
  }
};

/// True when an access of N elements at `pointer` is aligned, at null too.
template <int N, class T>
__device__ bool aligned_for(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % (N * sizeof(T)) == 0;
}

namespace kernel_detail {

/// Fills tables from `parameters` and calls launch_table(table, blocks) for each that is full, and for the last.
/// `record_of` gives a record but for its first block.
template <class Table, class Parameter, class RecordOf, class LaunchTable>
void launch_tables(Table& table, std::span<const Parameter> parameters, std::int64_t elements_per_block,
                   const RecordOf& record_of, const LaunchTable& launch_table) {
  table.count = 0;
  std::int64_t blocks = 0;
  for (const Parameter& one : parameters) {
    auto record = record_of(one);
    if (record.count == 0) continue;
    record.first_block = grid_extent(blocks);
    blocks += ceil_div(record.count, elements_per_block);
    table.records[table.count++] = record;
    if (table.count < Table::capacity) continue;
    launch_table(blocks);
    table.count = 0;
    blocks = 0;
  }
  if (table.count > 0) launch_table(blocks);
}

}  // namespace kernel_detail
}  // namespace HONE_TARGET
}  // namespace hone
