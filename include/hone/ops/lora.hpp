// LoRA beside its linear (Hu et al., 2021), added in place to the linear's output:
//   h = x A^T        y[:, part] += s h B^T        with s = alpha / r, A (r, in), B (out, r)
//   dB = s dy^T h        dh = s dy B        dA = dh^T x        dx += dh A
// Parts of one linear (q, k and v) that share their input keep their As in one stack, so that x meets one matrix: h, dA
// and dx are one product each, B's products are one a part.
// With dropout x is replaced by keep * x / (1 - p), whose mask is drawn again in the backward pass, not kept.
#pragma once

#include <hone/autograd/random.hpp>
#include <hone/autograd/tape.hpp>
#include <hone/cpu/dropout.hpp>
#include <hone/ops/dropout.hpp>
#include <hone/ops/gemm.hpp>
#include <hone/ops/linear.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace hone {

/// Adapters are float over a bf16 or float base, and double over a double one.
template <class T>
using AdapterElement = Accumulator<T>;

/// A dropout that can be repeated: its probability and the random numbers it takes.
struct DropoutDraw {
  double p = 0;
  RandomDraw numbers;
};

/// The LoRA of one part of a linear.
template <class T, Device D>
struct LoraPart {
  Tensor<AdapterElement<T>, D> a;  ///< (r, in): rows of the stack, in the order of the parts
  Tensor<AdapterElement<T>, D> b;  ///< (out, r)
  double scale = 1;                ///< what B A x is multiplied by
  std::int64_t begin = 0;          ///< first column of y
};

/// The As of a linear's parts, one above the other, and where their gradients are summed, if they lie as they do.
template <class T, Device D>
struct LoraStackedA {
  Tensor<AdapterElement<T>, D> values;    ///< (sum of r, in)
  Tensor<AdapterElement<T>, D> gradient;  ///< the same shape: the buffers of the parts' gradients; or undefined
};

namespace detail {

template <class T, Device D>
Tensor<T, D> dropped_out(const Tensor<T, D>& x, const DropoutDraw& draw) {
  if (draw.p == 0) return x.detached();
  auto out = Tensor<T, D>::empty(x.device(), x.shape(), {Category::activations, "lora.dropout"});
  run_kernel<kernel::Dropout>(x.device(), x.template in<2>(), draw.p, draw.numbers.seed, draw.numbers.offset,
                              out.template view<2>(), false);
  return out;
}

template <class T, Device D>
struct LoraSaved {
  using A = AdapterElement<T>;
  struct PartSaved {
    Tensor<A, D> b;
    double scale = 0;
    std::int64_t begin = 0, first = 0;  // first column of y and of h
    std::shared_ptr<GradientSlot<A, D>> a_slot, b_slot;
  };
  Tensor<T, D> x;
  Tensor<A, D> h;
  LoraStackedA<T, D> a;
  DropoutDraw draw;
  std::shared_ptr<GradientSlot<T, D>> x_slot;
  std::array<PartSaved, max_weight_parts> parts;
  std::size_t count = 0;

  std::span<const PartSaved> all() const { return {parts.data(), count}; }

  void backward(const Tensor<T, D>& dy) const {
    const D& device = dy.device();
    const auto dh = Tensor<A, D>::empty(device, h.shape(), {Category::activations, "lora.dh"});  // (N, sum of r)
    for (const PartSaved& part : all()) {
      const std::int64_t r = part.b.extent(1);
      const auto dy_part = dy.columns(part.begin, part.b.extent(0));  // (N, out)
      if (part.b_slot != nullptr)
        part.b_slot->contribute(device, [&](const Tensor<A, D>& db, bool accumulate) {
          gemm(dy_part, h.columns(part.first, r), db,
               {.transpose_a = true, .alpha = part.scale, .accumulate = accumulate});
        });
      gemm(dy_part, part.b, dh.columns(part.first, r), {.alpha = part.scale});
    }
    add_da(dh);
    if (x_slot != nullptr)
      x_slot->contribute(device, [&](const Tensor<T, D>& dx, bool accumulate) { add_dx(dh, dx, accumulate); });
  }

  /// Whether every part's gradient lies in its rows of the stack, and all of them are empty or all are filled.
  bool gradients_are_stacked() const {
    if (!a.gradient.defined()) return false;
    const auto like_the_first = [&](const PartSaved& part) {
      return part.a_slot != nullptr && part.a_slot->filled() == parts[0].a_slot->filled();
    };
    return parts[0].a_slot != nullptr && std::all_of(all().begin(), all().end(), like_the_first);
  }

  void add_da(const Tensor<A, D>& dh) const {
    const D& device = dh.device();
    if (std::none_of(all().begin(), all().end(), [](const auto& part) { return part.a_slot != nullptr; })) return;
    const auto kept = dropped_out(x, draw);
    if (gradients_are_stacked()) {
      gemm(dh, kept, a.gradient, {.transpose_a = true, .accumulate = parts[0].a_slot->filled()});
      for (const PartSaved& part : all()) part.a_slot->contribute(device, [](const Tensor<A, D>&, bool) {});
      return;
    }
    for (const PartSaved& part : all())
      if (part.a_slot != nullptr)
        part.a_slot->contribute(device, [&](const Tensor<A, D>& da, bool accumulate) {
          gemm(dh.columns(part.first, part.b.extent(1)), kept, da, {.transpose_a = true, .accumulate = accumulate});
        });
  }

  void add_dx(const Tensor<A, D>& dh, const Tensor<T, D>& dx, bool accumulate) const {
    if (draw.p == 0) return gemm(dh, a.values, dx, {.accumulate = accumulate});
    const auto masked = Tensor<T, D>::empty(dx.device(), dx.shape(), {Category::activations, "lora.dropout"});
    gemm(dh, a.values, masked, {});
    run_kernel<kernel::Dropout>(dx.device(), masked.template in<2>(), draw.p, draw.numbers.seed, draw.numbers.offset,
                                dx.template view<2>(), accumulate);
  }
};

template <class T, Device D>
void check_lora(const Tensor<T, D>& x, const LoraStackedA<T, D>& a, std::span<const LoraPart<T, D>> parts,
                const Tensor<T, D>& y) {
  std::int64_t rows = 0;
  check(parts.size() <= max_weight_parts, "[lora] {} parts of one linear, at most {} are supported", parts.size(),
        max_weight_parts);
  for (const LoraPart<T, D>& part : parts) {
    check(part.a.rank() == 2 && part.b.rank() == 2 && part.a.extent(1) == x.extent(1) &&
              part.a.extent(0) == part.b.extent(1) && part.begin + part.b.extent(0) <= y.extent(1),
          "[lora] A {} and B {} do not fit x {} and y {} from column {}", part.a.shape(), part.b.shape(), x.shape(),
          y.shape(), part.begin);
    rows += part.a.extent(0);
  }
  check(a.values.rank() == 2 && a.values.extent(0) == rows, "[lora] a stack {} of parts with {} rows", a.values.shape(),
        rows);
}

}  // namespace detail

namespace detail {

template <class T, Device D>
struct AddProductSaved {
  using A = AdapterElement<T>;
  Tensor<A, D> h, b;
  double scale;
  std::shared_ptr<GradientSlot<A, D>> h_slot, b_slot;

  void backward(const Tensor<T, D>& dy) const {
    if (b_slot != nullptr)
      b_slot->contribute(dy.device(), [&](const Tensor<A, D>& db, bool accumulate) {
        gemm(dy, h, db, {.transpose_a = true, .alpha = scale, .accumulate = accumulate});
      });
    if (h_slot != nullptr)
      h_slot->contribute(dy.device(), [&](const Tensor<A, D>& dh, bool accumulate) {
        gemm(dy, b, dh, {.alpha = scale, .accumulate = accumulate});
      });
  }
};

}  // namespace detail

/// y += scale h b^T in place: the second half of a LoRA whose h (N, r) came from elsewhere, as from a lookup in A. b
/// (C, r), y (N, C).
template <class T, Device D>
void add_product(const Tensor<AdapterElement<T>, D>& h, const Tensor<AdapterElement<T>, D>& b, double scale,
                 Tensor<T, D>& y) {
  check(h.rank() == 2 && b.rank() == 2 && h.extent(1) == b.extent(1) && h.extent(0) == y.extent(0) &&
            b.extent(0) == y.extent(1),
        "[lora] h {} and B {} do not fit y {}", h.shape(), b.shape(), y.shape());
  gemm(h, b, y, {.transpose_b = true, .alpha = scale, .accumulate = true});
  if (!records(h, b, y)) return;
  if (!y.requires_grad()) y.require_grad();
  current_tape().record(detail::AddProductSaved<T, D>{h.detached(), b.detached(), scale, h.slot(), b.slot()}, y.slot());
}

/// Adds scale * dropout(x) a^T b^T of every part to its columns of y. x (N, in), y (N, out of the linear).
template <class T, Device D>
void add_lora(const Tensor<T, D>& x, const LoraStackedA<T, D>& a, std::span<const LoraPart<T, D>> parts,
              const DropoutDraw& draw, Tensor<T, D>& y) {
  detail::check_lora(x, a, parts, y);
  auto h = Tensor<AdapterElement<T>, D>::empty(x.device(), {x.extent(0), a.values.extent(0)},
                                               {Category::activations, "lora.h"});
  gemm(detail::dropped_out(x, draw), a.values, h, {.transpose_b = true});
  detail::LoraSaved<T, D> saved{x.detached(), h, a, draw, x.slot(), {}, parts.size()};
  bool trains = false;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const LoraPart<T, D>& part = parts[i];
    saved.parts[i] = {part.b.detached(), part.scale, part.begin, first, part.a.slot(), part.b.slot()};
    trains = trains || part.a.requires_grad() || part.b.requires_grad();
    gemm(h.columns(first, part.b.extent(1)), part.b, y.columns(part.begin, part.b.extent(0)),
         {.transpose_b = true, .alpha = part.scale, .accumulate = true});
    first += part.a.extent(0);
  }
  if (!grad_enabled() || !(trains || x.requires_grad() || y.requires_grad())) return;
  if (!y.requires_grad()) y.require_grad();
  current_tape().record(std::move(saved), y.slot());
}

/// The same for one part whose columns of y start at `begin`.
template <class T, Device D>
void add_lora(const Tensor<T, D>& x, const Tensor<AdapterElement<T>, D>& a, const Tensor<AdapterElement<T>, D>& b,
              double scale, const DropoutDraw& draw, Tensor<T, D>& y, std::int64_t begin) {
  const std::array<LoraPart<T, D>, 1> parts{{{a, b, scale, begin}}};
  add_lora(x, LoraStackedA<T, D>{a.detached(), {}}, std::span<const LoraPart<T, D>>(parts), draw, y);
}

}  // namespace hone
