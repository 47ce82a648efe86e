// DoRA (Liu et al., 2024): the rows of V = W + s B A keep their direction, and a vector m says how long they are.
//   u = V x        y = (m / n) u + bias        n_i = ||V_i||
//   dm = (1 / n) sum over tokens of dy u        du = (m / n) dy        n is a constant in the backward pass, as in PEFT
// On top of LoRA it is a rescaling of the output, in place: what LoRA left in y is u + bias, and
// y += (m / n - 1) (y - bias). Where m = n, as at the start, not a bit changes.
// V itself is never formed: n_i^2 = ||W_i||^2 + b_i . (2 s W_i A^T + s^2 b_i A A^T), with ||W_i||^2 kept from the
// start.
#pragma once

#include <hone/autograd/tape.hpp>
#include <hone/cpu/dora.hpp>
#include <hone/ops/linear.hpp>

#include <cstdint>
#include <memory>

namespace hone {

namespace kernel {
struct RowSquares {
  static double flops(const auto& w, const auto&) { return flops_per_element(2, w); }
};
struct DoraNorms {
  static double flops(const auto&, const auto& b, const auto&, const auto&, double, const auto&) {
    return flops_per_element(5, b);
  }
};
struct DoraForward {
  static double flops(const auto&, const auto&, const auto&, const auto& y, const auto&) {
    return flops_per_element(5, y);
  }
  static Traffic traffic(const auto& m, const auto& n, const auto& bias, const auto& y, const auto& u) {
    return {bytes_of(m) + bytes_of(n) + bytes_of(bias) + bytes_of(y), bytes_of(y) + bytes_of(u)};
  }
};
struct DoraMagnitudes {
  static double flops(const auto& dy, const auto&, const auto&, const auto&, bool) { return flops_per_element(2, dy); }
};
struct DoraBackward {
  static double flops(const auto&, const auto&, const auto& dy) { return flops_per_element(2, dy); }
  static Traffic traffic(const auto& m, const auto& n, const auto& dy) {
    return {bytes_of(m) + bytes_of(n) + bytes_of(dy), bytes_of(dy)};
  }
};
struct DoraScaleRows {
  static double flops(const auto&, const auto&, const auto& w) { return flops_per_element(2, w); }
};
}  // namespace kernel

/// What DoRA keeps of one part of a linear. Undefined magnitude: there is none.
template <class T, Device D>
struct Dora {
  using A = Accumulator<T>;
  WeightPart<T, D> part;      ///< of the base, which must not change while the adapter is there
  Tensor<A, D> base_squares;  ///< (out): ||W_i||^2
  Tensor<A, D> magnitude;     ///< (out): trained
};

namespace detail {

/// The weight of a part, (out, in); a quantised one as a dense copy in workspace.
template <class T, Device D>
Tensor<T, D> dense_weight(const WeightPart<T, D>& part, const D& device) {
  if (part.quantised == nullptr) return part.weight.detached();
  auto copy = Tensor<T, D>::empty(device, part.shape(), {Category::workspace, "dequantised"});
  dequantise(*part.quantised, copy);
  return copy;
}

template <class T, Device D>
struct DoraSaved {
  using A = Accumulator<T>;
  Tensor<T, D> u;
  Tensor<A, D> magnitude, norms;
  std::shared_ptr<GradientSlot<T, D>> y_slot;
  std::shared_ptr<GradientSlot<A, D>> magnitude_slot;
  std::int64_t begin;

  void backward(const Tensor<T, D>&) const {
    const auto dy = y_slot->owned().columns(begin, magnitude.extent(0));
    if (magnitude_slot != nullptr)
      magnitude_slot->contribute(dy.device(), [&](const Tensor<A, D>& dm, bool accumulate) {
        run_kernel<kernel::DoraMagnitudes>(dy.device(), dy.template in<2>(), u.template in<2>(), norms.template in<1>(),
                                           dm.template view<1>(), accumulate);
      });
    run_kernel<kernel::DoraBackward>(dy.device(), magnitude.template in<1>(), norms.template in<1>(),
                                     dy.template view<2>());
  }
};

}  // namespace detail

/// ||W_i + s (B A)_i|| of every row, (out). Not differentiated.
template <class T, Device D>
Tensor<Accumulator<T>, D> dora_norms(const Dora<T, D>& dora, const Tensor<Accumulator<T>, D>& a,
                                     const Tensor<Accumulator<T>, D>& b, double scale) {
  using A = Accumulator<T>;
  const D& device = b.device();
  const Shape narrow = b.shape();  // (out, r)
  auto norms = Tensor<A, D>::empty(device, {narrow[0]}, {Category::activations, "dora.norms"});
  const auto wa = Tensor<A, D>::empty(device, narrow, {Category::workspace, "dora.wa"});
  const auto aa = Tensor<A, D>::empty(device, {narrow[1], narrow[1]}, {Category::workspace, "dora.aa"});
  const auto baa = Tensor<A, D>::empty(device, narrow, {Category::workspace, "dora.baa"});
  gemm(detail::dense_weight(dora.part, device), a, wa, {.transpose_b = true});
  gemm(a, a, aa, {.transpose_b = true});
  gemm(b, aa, baa, {});
  run_kernel<kernel::DoraNorms>(device, dora.base_squares.template in<1>(), b.template in<2>(), wa.template in<2>(),
                                baa.template in<2>(), scale, norms.template view<1>());
  return norms;
}

/// DoRA for a part of the base whose B is zero: magnitudes are the norms of its rows.
template <class T, Device D>
Dora<T, D> make_dora(const WeightPart<T, D>& part, const Tensor<Accumulator<T>, D>& a,
                     const Tensor<Accumulator<T>, D>& b, double scale) {
  using A = Accumulator<T>;
  const D& device = b.device();
  const Shape rows{b.extent(0)};
  Dora<T, D> out{part, Tensor<A, D>::empty(device, rows, {Category::weights, "dora.base_squares"}),
                 Tensor<A, D>::empty(device, rows, {Category::weights, "lora_magnitude_vector"})};
  const auto weight = detail::dense_weight(part, device);
  run_kernel<kernel::RowSquares>(device, weight.template in<2>(), out.base_squares.template view<1>());
  copy_into(dora_norms(out, a, b, scale), out.magnitude, false);
  return out;
}

/// y[:, part] += (m / n - 1) (y[:, part] - bias), in place.
template <class T, Device D>
void dora_rescale(const Dora<T, D>& dora, const Tensor<Accumulator<T>, D>& norms, Tensor<T, D>& y, std::int64_t begin) {
  const std::int64_t out = dora.magnitude.extent(0);
  check(!dora.part.bias.requires_grad(),
        "[dora] beside a bias that trains its scaling has no gradient; freeze the bias");
  check(y.rank() == 2 && begin + out <= y.extent(1), "[dora] {} magnitudes do not fit y {} from column {}", out,
        y.shape(), begin);
  const bool recorded = grad_enabled() && (y.requires_grad() || dora.magnitude.requires_grad());
  const D& device = y.device();
  const auto here = y.columns(begin, out);
  auto u = Tensor<T, D>::empty(device, {recorded ? y.extent(0) : 0, out}, {Category::activations, "dora.u"});
  const auto bias =
      dora.part.bias.defined() ? dora.part.bias.detached() : Tensor<T, D>::empty(device, {0}, {Category::workspace});
  run_kernel<kernel::DoraForward>(device, dora.magnitude.template in<1>(), norms.template in<1>(),
                                  bias.template in<1>(), here.template view<2>(), u.template view<2>());
  if (!recorded) return;
  if (!y.requires_grad()) y.require_grad();
  current_tape().record(
      detail::DoraSaved<T, D>{u, dora.magnitude.detached(), norms, y.slot(), dora.magnitude.slot(), begin}, y.slot());
}

/// Row i of `weight` times m_i / n_i: what remains of DoRA when B A is merged into it.
template <class T, Device D>
void dora_scale_rows(const Tensor<T, D>& weight, const Tensor<Accumulator<T>, D>& magnitude,
                     const Tensor<Accumulator<T>, D>& norms) {
  run_kernel<kernel::DoraScaleRows>(weight.device(), magnitude.template in<1>(), norms.template in<1>(),
                                    weight.template view<2>());
}

}  // namespace hone
