// Functions of one argument, each with its derivative, written in whichever of x and y makes it shorter.
#pragma once

#include <hone/ops/elementwise.hpp>

#include <cmath>

namespace hone {

namespace elementwise {

/// y = e^x        dx = dy y
struct Exp {
  static constexpr std::string_view name = "exp";
  static constexpr Saves saves = Saves::output;
  template <class S>
  constexpr S operator()(S x) const {
    return std::exp(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S y) const {
    return dy * y;
  }
};

/// y = ln x        dx = dy / x
struct Log {
  static constexpr std::string_view name = "log";
  static constexpr Saves saves = Saves::inputs;
  template <class S>
  constexpr S operator()(S x) const {
    return std::log(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S x) const {
    return dy / x;
  }
};

/// y = sqrt(x)        dx = dy / (2 y)
struct Sqrt {
  static constexpr std::string_view name = "sqrt";
  static constexpr Saves saves = Saves::output;
  template <class S>
  constexpr S operator()(S x) const {
    return std::sqrt(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S y) const {
    return dy / (2 * y);
  }
};

/// y = 1 / sqrt(x)        dx = -dy y^3 / 2
struct Rsqrt {
  static constexpr std::string_view name = "rsqrt";
  static constexpr Saves saves = Saves::output;
  template <class S>
  constexpr S operator()(S x) const {
    return 1 / std::sqrt(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S y) const {
    return -dy * y * y * y / 2;
  }
};

/// y = tanh x        dx = dy (1 - y^2)
struct Tanh {
  static constexpr std::string_view name = "tanh";
  static constexpr Saves saves = Saves::output;
  template <class S>
  constexpr S operator()(S x) const {
    return std::tanh(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S y) const {
    return dy * (1 - y * y);
  }
};

/// y = 1 / (1 + e^-x)        dx = dy y (1 - y)
struct Sigmoid {
  static constexpr std::string_view name = "sigmoid";
  static constexpr Saves saves = Saves::output;
  template <class S>
  constexpr S operator()(S x) const {
    return 1 / (1 + std::exp(-x));
  }
  template <int, class S>
  constexpr S gradient(S dy, S y) const {
    return dy * y * (1 - y);
  }
};

/// y = max(x, 0)        dx = dy where x > 0, else 0
struct Relu {
  static constexpr std::string_view name = "relu";
  static constexpr Saves saves = Saves::output;
  template <class S>
  constexpr S operator()(S x) const {
    return x < 0 ? S{0} : x;
  }
  template <int, class S>
  constexpr S gradient(S dy, S y) const {
    return y > 0 ? dy : S{0};
  }
};

/// y = x s with s = sigmoid(x)        dx = dy s (1 + x (1 - s))
struct Silu {
  static constexpr std::string_view name = "silu";
  static constexpr Saves saves = Saves::inputs;
  template <class S>
  constexpr S operator()(S x) const {
    return x / (1 + std::exp(-x));
  }
  template <int, class S>
  constexpr S gradient(S dy, S x) const {
    const S s = 1 / (1 + std::exp(-x));
    return dy * s * (1 + x * (1 - s));
  }
};

/// y = |x|        dx = dy sign(x), 0 at 0
struct Abs {
  static constexpr std::string_view name = "abs";
  static constexpr Saves saves = Saves::inputs;
  template <class S>
  constexpr S operator()(S x) const {
    return std::abs(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S x) const {
    return x > 0 ? dy : x < 0 ? -dy : S{0};
  }
};

/// y = sin x        dx = dy cos x
struct Sin {
  static constexpr std::string_view name = "sin";
  static constexpr Saves saves = Saves::inputs;
  template <class S>
  constexpr S operator()(S x) const {
    return std::sin(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S x) const {
    return dy * std::cos(x);
  }
};

/// y = cos x        dx = -dy sin x
struct Cos {
  static constexpr std::string_view name = "cos";
  static constexpr Saves saves = Saves::inputs;
  template <class S>
  constexpr S operator()(S x) const {
    return std::cos(x);
  }
  template <int, class S>
  constexpr S gradient(S dy, S x) const {
    return -dy * std::sin(x);
  }
};

}  // namespace elementwise

template <class T, Device D>
Tensor<T, D> exp(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Exp{}, x);
}
template <class T, Device D>
Tensor<T, D> log(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Log{}, x);
}
template <class T, Device D>
Tensor<T, D> sqrt(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Sqrt{}, x);
}
template <class T, Device D>
Tensor<T, D> rsqrt(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Rsqrt{}, x);
}
template <class T, Device D>
Tensor<T, D> tanh(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Tanh{}, x);
}
template <class T, Device D>
Tensor<T, D> sigmoid(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Sigmoid{}, x);
}
template <class T, Device D>
Tensor<T, D> relu(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Relu{}, x);
}
template <class T, Device D>
Tensor<T, D> silu(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Silu{}, x);
}
template <class T, Device D>
Tensor<T, D> abs(const Tensor<T, D>& x) {
  return detail::elementwise<T>(elementwise::Abs{}, x.shape(), x);
}
template <class T, Device D>
Tensor<T, D> sin(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Sin{}, x);
}
template <class T, Device D>
Tensor<T, D> cos(const Tensor<T, D>& x) {
  return detail::unary(elementwise::Cos{}, x);
}

}  // namespace hone
