// One trained number a column of a tensor, as IA3 and BitFit have it:
//   y = x l        dx = dy l        dl = sum over rows of dy x
//   y += b                          db = sum over rows of dy
#pragma once

#include <hone/autograd/tape.hpp>
#include <hone/cpu/columns.hpp>

#include <cstdint>
#include <memory>

namespace hone {

namespace kernel {
struct ScaleColumns {
  static double flops(const auto&, const auto&, const auto& y, bool accumulate) {
    return flops_per_element(accumulate ? 2 : 1, y);
  }
};
struct AddColumns {
  static double flops(const auto&, double, const auto& y) { return flops_per_element(1, y); }
  static Traffic traffic(const auto& b, double, const auto& y) { return {bytes_of(b) + bytes_of(y), bytes_of(y)}; }
};
struct SumOfProducts {
  static double flops(const auto& a, const auto& b, double, const auto&, bool) {
    return flops_per_element(1, a) + flops_per_element(1, b);
  }
};
}  // namespace kernel

namespace detail {

/// slot (C) += scale times the sum over rows of dy, times x where it is defined.
template <class A, class T, Device D>
void add_column_sums(GradientSlot<A, D>& slot, const Tensor<T, D>& dy, const Tensor<T, D>& x, double scale = 1) {
  const View<const T, 2> factor = x.defined() ? x.template in<2>() : View<const T, 2>{};
  slot.contribute(dy.device(), [&](const Tensor<A, D>& sum, bool accumulate) {
    run_kernel<kernel::SumOfProducts>(dy.device(), dy.template in<2>(), factor, scale, sum.template view<1>(),
                                      accumulate);
  });
}

template <class T, Device D>
struct ScaleColumnsSaved {
  using A = Accumulator<T>;
  Tensor<T, D> x;  // where l trains
  Tensor<A, D> l;
  std::shared_ptr<GradientSlot<T, D>> x_slot;
  std::shared_ptr<GradientSlot<A, D>> l_slot;

  void backward(const Tensor<T, D>& dy) const {
    if (l_slot != nullptr) add_column_sums(*l_slot, dy, x);
    if (x_slot == nullptr) return;
    x_slot->contribute(dy.device(), [&](const Tensor<T, D>& dx, bool accumulate) {
      run_kernel<kernel::ScaleColumns>(dy.device(), dy.template in<2>(), l.template in<1>(), dx.template view<2>(),
                                       accumulate);
    });
  }
};

template <class T, Device D>
struct ScaleInPlaceSaved {
  using A = Accumulator<T>;
  Tensor<T, D> before;  // those columns of y, where l trains
  Tensor<A, D> l;
  std::int64_t begin;
  std::shared_ptr<GradientSlot<T, D>> y_slot;
  std::shared_ptr<GradientSlot<A, D>> l_slot;

  void backward(const Tensor<T, D>&) const {
    const auto dy = y_slot->owned().columns(begin, l.extent(0));
    if (l_slot != nullptr) add_column_sums(*l_slot, dy, before);
    run_kernel<kernel::ScaleColumns>(dy.device(), dy.template in<2>(), l.template in<1>(), dy.template view<2>(),
                                     false);
  }
};

template <class T, Device D>
struct AddColumnsSaved {
  std::int64_t begin;
  std::int64_t columns;
  double scale;
  std::shared_ptr<GradientSlot<Accumulator<T>, D>> b_slot;
  void backward(const Tensor<T, D>& dy) const {
    add_column_sums(*b_slot, dy.columns(begin, columns), Tensor<T, D>{}, scale);
  }
};

template <class T, Device D>
void check_columns(std::string_view op, const Tensor<Accumulator<T>, D>& vector, const Tensor<T, D>& y,
                   std::int64_t begin) {
  check(y.rank() == 2 && vector.rank() == 1 && begin + vector.extent(0) <= y.extent(1),
        "[{}] {} numbers do not fit y {} from column {}", op, vector.elements(), y.shape(), begin);
}

}  // namespace detail

/// x (N, C) with column c multiplied by l[c].
template <class T, Device D>
Tensor<T, D> scale_columns(const Tensor<T, D>& x, const Tensor<Accumulator<T>, D>& l) {
  detail::check_columns("scale_columns", l, x, 0);
  check(l.extent(0) == x.extent(1), "[scale_columns] {} numbers for the columns of x {}", l.extent(0), x.shape());
  auto y = Tensor<T, D>::empty(x.device(), x.shape(), {Category::activations, "scaled"});
  run_kernel<kernel::ScaleColumns>(x.device(), x.template in<2>(), l.template in<1>(), y.template view<2>(), false);
  if (records(x, l))
    record(detail::ScaleColumnsSaved<T, D>{l.requires_grad() ? x.detached() : Tensor<T, D>{}, l.detached(), x.slot(),
                                           l.slot()},
           y);
  return y;
}

/// Multiplies columns [begin, begin + l.extent(0)) of y by l, in place.
template <class T, Device D>
void scale_columns_in_place(Tensor<T, D>& y, std::int64_t begin, const Tensor<Accumulator<T>, D>& l) {
  detail::check_columns("scale_columns", l, y, begin);
  const auto part = y.columns(begin, l.extent(0));
  const bool recorded = records(y, l);
  Tensor<T, D> before;
  if (recorded && l.requires_grad()) {
    before = Tensor<T, D>::empty(y.device(), part.shape(), {Category::activations, "before_scale"});
    copy_into(part, before);
  }
  run_kernel<kernel::ScaleColumns>(y.device(), part.template in<2>(), l.template in<1>(), part.template view<2>(),
                                   false);
  if (!recorded) return;
  if (!y.requires_grad()) y.require_grad();
  current_tape().record(detail::ScaleInPlaceSaved<T, D>{before, l.detached(), begin, y.slot(), l.slot()}, y.slot());
}

/// Adds scale b to columns [begin, begin + b.extent(0)) of y, in place.
template <class T, Device D>
void add_columns_in_place(Tensor<T, D>& y, std::int64_t begin, const Tensor<Accumulator<T>, D>& b, double scale = 1) {
  detail::check_columns("add_columns", b, y, begin);
  const auto part = y.columns(begin, b.extent(0));
  run_kernel<kernel::AddColumns>(y.device(), b.template in<1>(), scale, part.template view<2>());
  if (!records(b)) return;
  if (!y.requires_grad()) y.require_grad();
  current_tape().record(detail::AddColumnsSaved<T, D>{begin, b.extent(0), scale, b.slot()}, y.slot());
}

}  // namespace hone
