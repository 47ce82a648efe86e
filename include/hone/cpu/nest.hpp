// Loop nests over several strided operands, and how the generic CPU kernels cut them into tasks.
#pragma once

#include <hone/core/shape.hpp>
#include <hone/cpu/partition.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace hone::cpu {

/// Elements of work that a task should have at least.
inline constexpr std::int64_t task_grain = std::int64_t{1} << 14;

/// A nest of up to five loops over N operands. Axes of extent 1 are dropped, and neighbours over which every operand
/// runs on evenly become one, so that a packed operand of any rank is a single loop.
template <std::size_t N>
class Nest {
 public:
  using Offsets = std::array<std::int64_t, N>;

  /// Adds an axis inside those already there.
  void push(std::int64_t extent, const Offsets& strides) {
    if (extent == 1) return;
    if (rank_ > 0 && continues(extent, strides)) {
      extents_[rank_ - 1] *= extent;
      strides_[rank_ - 1] = strides;
      return;
    }
    extents_[rank_] = extent;
    strides_[rank_++] = strides;
  }

  std::int64_t elements() const {
    std::int64_t count = 1;
    for (std::size_t axis = 0; axis < rank_; ++axis) count *= extents_[axis];
    return count;
  }
  /// Strides of the innermost loop.
  Offsets inner_strides() const {
    if (rank_ > 0) return strides_[rank_ - 1];
    Offsets ones;
    ones.fill(1);
    return ones;
  }

  /// Visits the points [begin, end) of the nest in row-major order, as runs along the innermost loop:
  /// body(offsets of the run's first point, number of points).
  template <class Body>
  void walk(std::int64_t begin, std::int64_t end, const Body& body) const {
    Offsets at{};
    if (begin >= end) return;
    if (rank_ == 0) return body(at, std::int64_t{1});
    std::array<std::int64_t, max_rank> index{};
    std::int64_t rest = begin;
    for (std::size_t axis = rank_; axis-- > 0; rest /= extents_[axis]) {
      index[axis] = rest % extents_[axis];
      step(at, axis, index[axis]);
    }
    const std::size_t inner = rank_ - 1;
    while (begin < end) {
      const std::int64_t count = std::min(end - begin, extents_[inner] - index[inner]);
      body(at, count);
      begin += count;
      index[inner] += count;
      step(at, inner, count);
      for (std::size_t axis = inner; axis > 0 && index[axis] == extents_[axis]; --axis) {
        step(at, axis, -extents_[axis]);
        index[axis] = 0;
        step(at, axis - 1, 1);
        ++index[axis - 1];
      }
    }
  }

 private:
  bool continues(std::int64_t extent, const Offsets& strides) const {
    for (std::size_t n = 0; n < N; ++n)
      if (strides_[rank_ - 1][n] != strides[n] * extent) return false;
    return true;
  }
  void step(Offsets& at, std::size_t axis, std::int64_t count) const {
    for (std::size_t n = 0; n < N; ++n) at[n] += count * strides_[axis][n];
  }

  std::size_t rank_ = 0;
  std::array<std::int64_t, max_rank> extents_{};
  std::array<Offsets, max_rank> strides_{};
};

}  // namespace hone::cpu
