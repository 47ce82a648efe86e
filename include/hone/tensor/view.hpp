// View: what a kernel sees of a tensor. A pointer, Rank extents and the distance between rows; it owns nothing.
#pragma once

#include <hone/core/error.hpp>

#include <array>
#include <cstdint>
#include <type_traits>

namespace hone {

/// A row-contiguous window on Rank-dimensional data. All axes but the first are packed; consecutive indices of the
/// first axis lie `stride` elements apart, so a column slice of a wider matrix is a view as well. `data` is null on
/// Meta.
template <class T, int Rank>
struct View {
  static_assert(Rank >= 1, "a View has at least one axis; a scalar is a View of extent 1");

  T* data = nullptr;
  std::array<std::int64_t, Rank> extents{};
  std::int64_t stride = 0;

  std::int64_t extent(int axis) const { return extents[static_cast<std::size_t>(axis)]; }
  std::int64_t rows() const { return extents[0]; }
  std::int64_t row_elements() const {
    std::int64_t count = 1;
    for (int axis = 1; axis < Rank; ++axis) count *= extent(axis);
    return count;
  }
  std::int64_t elements() const { return rows() * row_elements(); }
  bool packed() const { return rows() <= 1 || stride == row_elements(); }
  T* row(std::int64_t index) const { return data + index * stride; }
  T& operator()(std::int64_t i) const requires(Rank == 1) { return data[i * stride]; }
  T& operator()(std::int64_t i, std::int64_t j) const requires(Rank == 2) { return data[i * stride + j]; }

  operator View<const T, Rank>() const requires(!std::is_const_v<T>) { return {data, extents, stride}; }  // NOLINT
};

/// A parameter type that does not take part in deduction: kernels write their inputs as In<T, 2>, so that T follows
/// from the output and a View<T> argument converts to View<const T>.
template <class T, int Rank>
using In = std::type_identity_t<View<const T, Rank>>;

template <class T, int Rank>
using Out = View<T, Rank>;

}  // namespace hone
