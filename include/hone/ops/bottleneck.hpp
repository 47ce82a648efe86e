// A bottleneck adapter (Houlsby et al., 2019; He et al., 2022), added in place to what a sublayer gives:
//   h = x A^T + a        g = f(h)        y += s (g B^T + b)        with A (r, C), B (C, r)
//   dB = s dy^T g        db = s sum dy        dh = s dy B * f'(h)        dA = dh^T x        da = sum dh        dx += dh
//   A
// f(h) is formed again in backward: h alone is kept beside x.
#pragma once

#include <hone/ops/activation.hpp>
#include <hone/ops/columns.hpp>
#include <hone/ops/gemm.hpp>
#include <hone/ops/residual_add.hpp>

#include <memory>

namespace hone {

/// The weights of one bottleneck; float over a bf16 or float base, double over a double one.
template <class A, Device D>
struct BottleneckWeights {
  Tensor<A, D> down;       ///< (r, C)
  Tensor<A, D> down_bias;  ///< (r)
  Tensor<A, D> up;         ///< (C, r)
  Tensor<A, D> up_bias;    ///< (C)
};

namespace detail {

template <class T, Device D>
struct BottleneckSaved {
  using A = Accumulator<T>;
  Tensor<T, D> x;
  Tensor<A, D> h, down, up;
  Activation activation;
  double scale;
  std::shared_ptr<GradientSlot<T, D>> x_slot;
  std::shared_ptr<GradientSlot<A, D>> down_slot, down_bias_slot, up_slot, up_bias_slot;

  void backward(const Tensor<T, D>& dy) const {
    const D& device = dy.device();
    if (up_bias_slot != nullptr) add_column_sums(*up_bias_slot, dy, Tensor<T, D>{}, scale);
    if (up_slot != nullptr)
      up_slot->contribute(device, [&](const Tensor<A, D>& db, bool accumulate) {
        const auto g = Tensor<A, D>::empty(device, h.shape(), {Category::activations, "bottleneck.g"});
        run_kernel<kernel::ActivationForward>(device, activation, h.template in<2>(), g.template view<2>());
        gemm(dy, g, db, {.transpose_a = true, .alpha = scale, .accumulate = accumulate});
      });
    if (down_slot == nullptr && down_bias_slot == nullptr && x_slot == nullptr) return;
    const auto dh = Tensor<A, D>::empty(device, h.shape(), {Category::activations, "bottleneck.dh"});  // (N, r)
    gemm(dy, up, dh, {.alpha = scale});
    run_kernel<kernel::ActivationBackward>(device, activation, dh.template in<2>(), h.template in<2>(),
                                           dh.template view<2>(), false);
    if (down_bias_slot != nullptr) add_column_sums(*down_bias_slot, dh, Tensor<A, D>{});
    if (down_slot != nullptr)
      down_slot->contribute(device, [&](const Tensor<A, D>& da, bool accumulate) {
        gemm(dh, x, da, {.transpose_a = true, .accumulate = accumulate});
      });
    if (x_slot != nullptr)
      x_slot->contribute(
          device, [&](const Tensor<T, D>& dx, bool accumulate) { gemm(dh, down, dx, {.accumulate = accumulate}); });
  }
};

}  // namespace detail

/// A copy of x (N, C) in memory of its own.
template <class T, Device D>
Tensor<T, D> duplicate(const Tensor<T, D>& x) {
  auto y = Tensor<T, D>::empty(x.device(), x.shape(), {Category::activations, "duplicate"});
  copy_into(x, y);
  if (records(x)) record(detail::ResidualAddSaved<T, D>{x.slot(), nullptr}, y);
  return y;
}

/// Adds scale (f(x down^T + down_bias) up^T + up_bias) to y. x and y (N, C) must be different memory.
template <class T, Device D>
void add_bottleneck(const Tensor<T, D>& x, const BottleneckWeights<Accumulator<T>, D>& w, Activation activation,
                    double scale, Tensor<T, D>& y) {
  using A = Accumulator<T>;
  check(w.down.rank() == 2 && w.up.rank() == 2 && w.down.extent(1) == x.extent(1) && w.up.extent(0) == y.extent(1) &&
            w.up.extent(1) == w.down.extent(0) && x.extent(0) == y.extent(0),
        "[bottleneck] down {} and up {} do not fit x {} and y {}", w.down.shape(), w.up.shape(), x.shape(), y.shape());
  const D& device = x.device();
  const auto h = Tensor<A, D>::empty(device, {x.extent(0), w.down.extent(0)}, {Category::activations, "bottleneck.h"});
  gemm(x, w.down, h, {.transpose_b = true});
  run_kernel<kernel::AddColumns>(device, w.down_bias.template in<1>(), 1.0, h.template view<2>());
  {
    const auto g = Tensor<A, D>::empty(device, h.shape(), {Category::activations, "bottleneck.g"});
    run_kernel<kernel::ActivationForward>(device, activation, h.template in<2>(), g.template view<2>());
    gemm(g, w.up, y, {.transpose_b = true, .alpha = scale, .accumulate = true});
  }
  run_kernel<kernel::AddColumns>(device, w.up_bias.template in<1>(), scale, y.template view<2>());
  if (!records(x, w.down, w.down_bias, w.up, w.up_bias)) return;
  if (!y.requires_grad()) y.require_grad();
  current_tape().record(
      detail::BottleneckSaved<T, D>{x.detached(), h, w.down.detached(), w.up.detached(), activation, scale, x.slot(),
                                    w.down.slot(), w.down_bias.slot(), w.up.slot(), w.up_bias.slot()},
      y.slot());
}

}  // namespace hone
