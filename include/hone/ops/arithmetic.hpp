// Arithmetic with broadcasting, of two tensors or a tensor and a number, each functor with its derivatives.
#pragma once

#include <hone/ops/elementwise.hpp>

#include <array>
#include <cmath>

namespace hone {

namespace elementwise {

/// y = a + b        da = dy        db = dy
struct Add {
  static constexpr std::string_view name = "add";
  static constexpr Saves saves = Saves::nothing;
  template <class S>
  constexpr S operator()(S a, S b) const {
    return a + b;
  }
  template <int, class S>
  constexpr S gradient(S dy) const {
    return dy;
  }
};

/// y = a - b        da = dy        db = -dy
struct Subtract {
  static constexpr std::string_view name = "subtract";
  static constexpr Saves saves = Saves::nothing;
  template <class S>
  constexpr S operator()(S a, S b) const {
    return a - b;
  }
  template <int K, class S>
  constexpr S gradient(S dy) const {
    return K == 0 ? dy : -dy;
  }
};

/// y = a b        da = dy b        db = dy a
struct Multiply {
  static constexpr std::string_view name = "multiply";
  static constexpr Saves saves = Saves::inputs;
  static constexpr std::array<bool, 2> linear = {true, true};  // whether the derivative by an argument is free of it
  template <class S>
  constexpr S operator()(S a, S b) const {
    return a * b;
  }
  template <int K, class S>
  constexpr S gradient(S dy, S a, S b) const {
    return K == 0 ? dy * b : dy * a;
  }
};

/// y = a / b        da = dy / b        db = -dy a / b^2
struct Divide {
  static constexpr std::string_view name = "divide";
  static constexpr Saves saves = Saves::inputs;
  static constexpr std::array<bool, 2> linear = {true, false};
  template <class S>
  constexpr S operator()(S a, S b) const {
    return a / b;
  }
  template <int K, class S>
  constexpr S gradient(S dy, S a, S b) const {
    return K == 0 ? dy / b : -dy * a / (b * b);
  }
};

/// y = a^b        da = dy b a^(b-1)        db = dy y ln a
struct Power {
  static constexpr std::string_view name = "pow";
  static constexpr Saves saves = Saves::inputs;
  static constexpr std::array<bool, 2> linear = {false, false};
  template <class S>
  constexpr S operator()(S a, S b) const {
    return static_cast<S>(std::pow(a, b));
  }
  template <int K, class S>
  constexpr S gradient(S dy, S a, S b) const {
    if (K == 0) return b == 0 ? S{0} : dy * b * std::pow(a, b - 1);
    return a == 0 && b >= 0 ? S{0} : dy * std::pow(a, b) * std::log(a);
  }
};

/// y = max(a, b), NaN if one is. dy goes to the larger one, halved where they are equal.
struct Maximum {
  static constexpr std::string_view name = "maximum";
  static constexpr Saves saves = Saves::inputs;
  static constexpr std::array<bool, 2> linear = {false, false};
  template <class S>
  constexpr S operator()(S a, S b) const {
    return a > b || a != a ? a : b;
  }
  template <int K, class S>
  constexpr S gradient(S dy, S a, S b) const {
    if (a == b) return dy / 2;
    return (a > b) == (K == 0) ? dy : S{0};
  }
};

/// y = min(a, b), NaN if one is. dy goes to the smaller one, halved where they are equal.
struct Minimum {
  static constexpr std::string_view name = "minimum";
  static constexpr Saves saves = Saves::inputs;
  static constexpr std::array<bool, 2> linear = {false, false};
  template <class S>
  constexpr S operator()(S a, S b) const {
    return a < b || a != a ? a : b;
  }
  template <int K, class S>
  constexpr S gradient(S dy, S a, S b) const {
    if (a == b) return dy / 2;
    return (a < b) == (K == 0) ? dy : S{0};
  }
};

/// y = -x        dx = -dy
struct Negate {
  static constexpr std::string_view name = "negate";
  static constexpr Saves saves = Saves::nothing;
  template <class S>
  constexpr S operator()(S x) const {
    return -x;
  }
  template <int, class S>
  constexpr S gradient(S dy) const {
    return -dy;
  }
};

}  // namespace elementwise

/// a + b with broadcasting: shapes are aligned at the last axis, and extents of 1 stretch. An Error names both shapes
/// when they do not fit. The same holds for the functions below.
template <class A, Device D, class B, Device E>
Tensor<A, D> operator+(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  return detail::binary<A>(elementwise::Add{}, a, b);
}
template <class A, Device D, class B, Device E>
Tensor<A, D> operator-(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  return detail::binary<A>(elementwise::Subtract{}, a, b);
}
template <class A, Device D, class B, Device E>
Tensor<A, D> operator*(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  return detail::binary<A>(elementwise::Multiply{}, a, b);
}
template <class A, Device D, class B, Device E>
Tensor<A, D> operator/(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  return detail::binary<A>(elementwise::Divide{}, a, b);
}
template <class A, Device D, class B, Device E>
Tensor<A, D> pow(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  static_assert(is_floating<A>, "pow wants a floating type: convert with to<float>(x)");
  return detail::binary<A>(elementwise::Power{}, a, b);
}
template <class A, Device D, class B, Device E>
Tensor<A, D> maximum(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  return detail::binary<A>(elementwise::Maximum{}, a, b);
}
template <class A, Device D, class B, Device E>
Tensor<A, D> minimum(const Tensor<A, D>& a, const Tensor<B, E>& b) {
  return detail::binary<A>(elementwise::Minimum{}, a, b);
}

template <class T, Device D>
Tensor<T, D> operator+(const Tensor<T, D>& a, double b) {
  return detail::with_number<T>(elementwise::Add{}, a, b);
}
template <class T, Device D>
Tensor<T, D> operator+(double a, const Tensor<T, D>& b) {
  return detail::with_number<T>(elementwise::Add{}, a, b);
}
template <class T, Device D>
Tensor<T, D> operator-(const Tensor<T, D>& a, double b) {
  return detail::with_number<T>(elementwise::Subtract{}, a, b);
}
template <class T, Device D>
Tensor<T, D> operator-(double a, const Tensor<T, D>& b) {
  return detail::with_number<T>(elementwise::Subtract{}, a, b);
}
template <class T, Device D>
Tensor<T, D> operator*(const Tensor<T, D>& a, double b) {
  return detail::with_number<T>(elementwise::Multiply{}, a, b);
}
template <class T, Device D>
Tensor<T, D> operator*(double a, const Tensor<T, D>& b) {
  return detail::with_number<T>(elementwise::Multiply{}, a, b);
}
template <class T, Device D>
Tensor<T, D> operator/(const Tensor<T, D>& a, double b) {
  return detail::with_number<T>(elementwise::Divide{}, a, b);
}
template <class T, Device D>
Tensor<T, D> operator/(double a, const Tensor<T, D>& b) {
  return detail::with_number<T>(elementwise::Divide{}, a, b);
}
template <class T, Device D>
Tensor<T, D> pow(const Tensor<T, D>& a, double b) {
  static_assert(is_floating<T>, "pow wants a floating type: convert with to<float>(x)");
  return detail::with_number<T>(elementwise::Power{}, a, b);
}
template <class T, Device D>
Tensor<T, D> pow(double a, const Tensor<T, D>& b) {
  static_assert(is_floating<T>, "pow wants a floating type: convert with to<float>(x)");
  return detail::with_number<T>(elementwise::Power{}, a, b);
}
template <class T, Device D>
Tensor<T, D> maximum(const Tensor<T, D>& a, double b) {
  return detail::with_number<T>(elementwise::Maximum{}, a, b);
}
template <class T, Device D>
Tensor<T, D> minimum(const Tensor<T, D>& a, double b) {
  return detail::with_number<T>(elementwise::Minimum{}, a, b);
}

template <class T, Device D>
Tensor<T, D> operator-(const Tensor<T, D>& x) {
  return detail::elementwise<T>(elementwise::Negate{}, x.shape(), x);
}

}  // namespace hone
