// Bypass: a function beside a linear that adds to its output. The unified view of He et al. (ICLR 2022): what differs
// between LoRA, adapters and their kin is the function, where it is inserted and how it is composed.
#pragma once

#include <hone/core/function_ref.hpp>
#include <hone/nn/parameter.hpp>

#include <concepts>
#include <memory>
#include <string>
#include <utility>

namespace hone {

/// What walks over a bypass's own weights: called with a name relative to the linear and the tensor.
template <Device D>
using WeightVisitor = FunctionRef<void(const std::string& name, std::variant<Tensor<float, D>*, Tensor<double, D>*>)>;

/// A type can bypass a linear when it adds its share to columns [begin, ...) of y and lists its weights.
template <class F, class T, class D>
concept BypassFunction = Device<D> &&
    requires(F& f, const Tensor<T, D>& x, Tensor<T, D>& y, std::int64_t begin, WeightVisitor<D> visitor) {
  f.add(x, y, begin);
  f.visit(visitor);
};

/// Any BypassFunction behind a table of function pointers; copies share it.
template <class T, Device D>
class Bypass {
 public:
  template <class F>
  requires BypassFunction<F, T, D>
  explicit Bypass(F function) : object_(std::make_shared<F>(std::move(function))), table_(&table_for<F>) {}

  void add(const Tensor<T, D>& x, Tensor<T, D>& y, std::int64_t begin) const {
    table_->add(object_.get(), x, y, begin);
  }
  void visit(WeightVisitor<D> visitor) const { table_->visit(object_.get(), visitor); }
  /// The function itself, if it is an F; else null.
  template <class F>
  F* get_if() const {
    return table_ == &table_for<F> ? static_cast<F*>(object_.get()) : nullptr;
  }

 private:
  struct Table {
    void (*add)(void*, const Tensor<T, D>&, Tensor<T, D>&, std::int64_t);
    void (*visit)(void*, WeightVisitor<D>);
  };
  template <class F>
  static constexpr Table table_for{
      [](void* object, const Tensor<T, D>& x, Tensor<T, D>& y, std::int64_t begin) {
        static_cast<F*>(object)->add(x, y, begin);
      },
      [](void* object, WeightVisitor<D> visitor) { static_cast<F*>(object)->visit(visitor); }};

  std::shared_ptr<void> object_;
  const Table* table_;
};

}  // namespace hone
