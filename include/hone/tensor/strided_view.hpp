// StridedView: what the generic kernels (map, reduce) see of a tensor. Unlike View any axis may have any stride, so a
// permuted, sliced or broadcast tensor is one as well.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/shape.hpp>

#include <array>
#include <cstdint>
#include <type_traits>

namespace hone {

/// Five axes, outermost first; tensors of lower rank have leading axes of extent 1. Broadcast axes have stride 0.
template <class T>
struct StridedView {
  T* data = nullptr;
  std::array<std::int64_t, max_rank> extents{};
  std::array<std::int64_t, max_rank> strides{};

  /// Points that a loop over the view visits.
  std::int64_t elements() const {
    std::int64_t count = 1;
    for (const auto extent : extents) count *= extent;
    return count;
  }
  /// Elements that lie behind it in memory: a broadcast axis counts once.
  std::int64_t distinct() const {
    std::int64_t count = 1;
    for (std::size_t axis = 0; axis < extents.size(); ++axis)
      if (strides[axis] != 0 || extents[axis] == 0) count *= extents[axis];
    return count;
  }
  operator StridedView<const T>() const requires(!std::is_const_v<T>) { return {data, extents, strides}; }  // NOLINT
};

namespace detail {
template <class... T>
struct ComputeTypeOf {
  static constexpr bool any_double = (std::is_same_v<std::remove_const_t<T>, double> || ...);
  static constexpr bool any_floating = (is_floating<std::remove_const_t<T>> || ...);
  using Type = std::conditional_t<any_double, double, std::conditional_t<any_floating, float, std::int64_t>>;
};
}  // namespace detail

/// The type that a formula over elements of these types is computed in: double if one is double, else float if one is
/// floating, else int64.
template <class... T>
using ComputeType = typename detail::ComputeTypeOf<T...>::Type;

/// A computed value as an element: rounded, or cut off when To is an integer.
template <class To, class S>
constexpr To element_cast(S value) {
  if constexpr (is_floating<To> && sizeof(To) == 2)
    return To(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

}  // namespace hone
