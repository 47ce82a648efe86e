// Comparisons, which give Tensor<bool> and are not differentiable, and where(), which chooses by one.
#pragma once

#include <hone/ops/elementwise.hpp>

#include <functional>

namespace hone {

namespace elementwise {

/// y = relation(a, b) for one of the standard's function objects.
template <class Relation>
struct Compare {
  static constexpr std::string_view name = "compare";
  static constexpr Saves saves = Saves::nothing;
  template <class S>
  constexpr bool operator()(S a, S b) const {
    return Relation{}(a, b);
  }
};

/// y = condition ? a : b        da = condition ? dy : 0        db = condition ? 0 : dy
struct Where {
  static constexpr std::string_view name = "where";
  static constexpr Saves saves = Saves::first_input;
  template <class S>
  constexpr S operator()(S condition, S a, S b) const {
    return condition != 0 ? a : b;
  }
  template <int K, class S>
  constexpr S gradient(S dy, S condition) const {
    return (condition != 0) == (K == 1) ? dy : S{0};
  }
};

}  // namespace elementwise

namespace detail {
template <class Relation, class A, Device D, class B, Device E>
Tensor<bool, D> compare(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  return binary<bool>(elementwise::Compare<Relation>{}, a, b);
}
template <class Relation, class T, Device D>
Tensor<bool, D> compare(const Tensor<T, D>& a, double b) {
  return with_number<bool>(elementwise::Compare<Relation>{}, a, b);
}
}  // namespace detail

/// Element by element, with broadcasting: a tensor of bool. Numbers may stand on the right.
template <class A, Device D, class B>
auto operator==(const Tensor<A, D>& a, const B& b) -> decltype(detail::compare<std::equal_to<>>(a, b)) {
  return detail::compare<std::equal_to<>>(a, b);
}
template <class A, Device D, class B>
auto operator!=(const Tensor<A, D>& a, const B& b) -> decltype(detail::compare<std::not_equal_to<>>(a, b)) {
  return detail::compare<std::not_equal_to<>>(a, b);
}
template <class A, Device D, class B>
auto operator<(const Tensor<A, D>& a, const B& b) -> decltype(detail::compare<std::less<>>(a, b)) {
  return detail::compare<std::less<>>(a, b);
}
template <class A, Device D, class B>
auto operator<=(const Tensor<A, D>& a, const B& b) -> decltype(detail::compare<std::less_equal<>>(a, b)) {
  return detail::compare<std::less_equal<>>(a, b);
}
template <class A, Device D, class B>
auto operator>(const Tensor<A, D>& a, const B& b) -> decltype(detail::compare<std::greater<>>(a, b)) {
  return detail::compare<std::greater<>>(a, b);
}
template <class A, Device D, class B>
auto operator>=(const Tensor<A, D>& a, const B& b) -> decltype(detail::compare<std::greater_equal<>>(a, b)) {
  return detail::compare<std::greater_equal<>>(a, b);
}

/// condition ? a : b, all three broadcast together.
template <Device D, class A, Device E, class B, Device G>
Tensor<A, D> where(const Tensor<bool, D>& condition, const Tensor<A, E>& a, const Tensor<B, G>& b) {
  static_assert(std::is_same_v<A, B>, "the two choices have different element types: convert one with to<T>(x)");
  static_assert(std::is_same_v<D, E> && std::is_same_v<D, G>, "the tensors are on different devices");
  if constexpr (std::is_same_v<A, B> && std::is_same_v<D, E> && std::is_same_v<D, G>)
    return detail::elementwise<A>(elementwise::Where{}, detail::broadcast_all("where", condition, a, b), condition, a,
                                  b);
  else
    return {};
}

}  // namespace hone
