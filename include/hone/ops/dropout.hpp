// Dropout (Srivastava et al., 2014): y = x keep / (1 - p)        dx (+)= dy keep / (1 - p)
// The mask is not stored: backward draws it again.
#pragma once

#include <hone/autograd/random.hpp>
#include <hone/autograd/tape.hpp>

#include <memory>

namespace hone {

namespace kernel {
struct Dropout {  ///< per element: the product
  static double flops(const auto& x, double, const DrawSeed&, std::uint64_t, const auto&, bool accumulate) {
    return flops_per_element(accumulate ? 2 : 1, x);
  }
};
}  // namespace kernel

namespace detail {

/// A matrix as it is, all else as one row: element numbers, and so the mask, are row-major either way.
template <class T, Device D>
View<T, 2> as_matrix(const Tensor<T, D>& x) {
  if (x.rank() == 2) return x.template view<2>();
  return {x.data(), {1, x.elements()}, x.elements()};
}

template <class T, Device D>
struct DropoutSaved {
  double p;
  RandomDraw draw;
  std::shared_ptr<GradientSlot<T, D>> x;
  void backward(const Tensor<T, D>& dy) const {
    x->contribute(dy.device(), [&](const Tensor<T, D>& dx, bool accumulate) {
      run_kernel<kernel::Dropout>(dy.device(), View<const T, 2>(as_matrix(dy)), p, draw.seed, draw.offset,
                                  as_matrix(dx), accumulate);
    });
  }
};

}  // namespace detail

/// x with a share p of its elements, chosen by `generator`, set to 0 and the others scaled by 1 / (1 - p). In
/// evaluation (under no_grad) it is x itself.
template <class T, Device D>
Tensor<T, D> dropout(const Tensor<T, D>& x, double p, Generator& generator = default_generator()) {
  check(p >= 0 && p <= 1, "[dropout] p is {}, wanted a probability", p);
  if (p == 0 || !training()) return x;
  const RandomDraw draw = generator.next(x.elements());
  auto y = Tensor<T, D>::empty(x.device(), x.shape(), {Category::activations, "dropout"});
  run_kernel<kernel::Dropout>(x.device(), View<const T, 2>(detail::as_matrix(x)), p, draw.seed, draw.offset,
                              detail::as_matrix(y), false);
  if (records(x)) record(detail::DropoutSaved<T, D>{p, draw, x.slot()}, y);
  return y;
}

}  // namespace hone
