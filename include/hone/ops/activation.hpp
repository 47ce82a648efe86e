// Pointwise non-linearities of adapters: y = f(x)        dx (+)= dy f'(x)
#pragma once

#include <hone/autograd/tape.hpp>
#include <hone/cpu/activation.hpp>

#include <memory>

namespace hone {

namespace kernel {
struct ActivationForward {
  static double flops(Activation, const auto&, const auto& y) { return flops_per_element(1, y); }
};
struct ActivationBackward {
  static double flops(Activation, const auto&, const auto&, const auto& dx, bool accumulate) {
    return flops_per_element(accumulate ? 3 : 2, dx);
  }
};
}  // namespace kernel

namespace detail {
template <class A, Device D>
struct ActivationSaved {
  Activation kind;
  Tensor<A, D> x;
  std::shared_ptr<GradientSlot<A, D>> slot;
  void backward(const Tensor<A, D>& dy) const {
    slot->contribute(dy.device(), [&](const Tensor<A, D>& dx, bool accumulate) {
      run_kernel<kernel::ActivationBackward>(dy.device(), kind, dy.template in<2>(), x.template in<2>(),
                                             dx.template view<2>(), accumulate);
    });
  }
};
}  // namespace detail

/// f(x) of a matrix x (N, C) of float (or double on the processor).
template <class A, Device D>
Tensor<A, D> activate(const Tensor<A, D>& x, Activation kind) {
  check(x.rank() == 2, "[activation] x {} must be a matrix", x.shape());
  auto y = Tensor<A, D>::empty(x.device(), x.shape(), {Category::activations, "activation"});
  run_kernel<kernel::ActivationForward>(x.device(), kind, x.template in<2>(), y.template view<2>());
  if (records(x)) record(detail::ActivationSaved<A, D>{kind, x.detached(), x.slot()}, y);
  return y;
}

}  // namespace hone
