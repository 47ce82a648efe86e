// to<T>(x): the elements converted. Floating to floating rounds to nearest and is differentiable, with the gradient
// cast back; floating to integer cuts off.        y = T(x)        dx (+)= From(dy)
#pragma once

#include <hone/ops/elementwise.hpp>

#include <type_traits>

namespace hone {

/// x with elements of type T; x itself if it has them already.
template <class T, class From, Device D>
Tensor<T, D> to(const Tensor<From, D>& x) {
  if constexpr (std::is_same_v<T, From>)
    return x;
  else
    return detail::elementwise<T>(elementwise::Identity{}, x.shape(), x);
}

}  // namespace hone
