// Bypass: a function put into a frozen base. The unified view of He et al. (ICLR 2022): what differs between LoRA,
// adapters, prefix tuning and their kin is the function f, where it is inserted, whether it runs beside what is there
// (parallel) or behind it (sequential), and how its result is composed with it.
#pragma once

#include <hone/core/function_ref.hpp>
#include <hone/nn/parameter.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace hone {

enum class Insertion : std::uint8_t {
  linear,
  linear_input,
  attention,
  feed_forward,
  keys_values,
  embeddings,
  token_lookup
};
enum class Form : std::uint8_t { parallel, sequential };
enum class Composition : std::uint8_t { add, gate, multiply, concatenate };

inline std::string_view name_of(Insertion insertion) {
  constexpr std::array<std::string_view, 7> names = {
      "linear", "linear input", "attention", "feed-forward", "keys and values", "input embeddings", "token lookup"};
  return names[static_cast<std::size_t>(insertion)];
}
inline std::string_view name_of(Form form) { return form == Form::parallel ? "parallel" : "sequential"; }
inline std::string_view name_of(Composition composition) {
  constexpr std::array<std::string_view, 4> names = {"add", "gate", "multiply", "concatenate"};
  return names[static_cast<std::size_t>(composition)];
}

/// What a bypass says of itself in the unified view.
struct BypassKind {
  std::string_view function;  ///< f, as a formula: "s B A x"
  Form form = Form::parallel;
  Composition composition = Composition::add;
};

// The insertion points: each says what a bypass is handed there, and so what it may read and change.

/// A part of a linear: x (N, in) went in, columns [begin, begin + out) of y came out and may be changed in place.
template <class T, Device D>
struct LinearSite {
  using Element = T;
  using DeviceType = D;
  const Tensor<T, D>& x;
  Tensor<T, D>& y;
  std::int64_t begin = 0;
};

/// What goes into a linear, x (N, in), which may be replaced.
template <class T, Device D>
struct LinearInputSite {
  using Element = T;
  using DeviceType = D;
  Tensor<T, D>& x;
};

/// A sublayer (attention or feed-forward) between two points of the residual stream: `stream` (N, C) before it; `y`
/// (N, C) is what it would add, and may be changed or replaced.
template <class T, Device D>
struct SublayerSite {
  using Element = T;
  using DeviceType = D;
  const Tensor<T, D>& stream;
  Tensor<T, D>& y;
};

/// Virtual tokens: `rows` is to become the (P, width) that stand before every document; of the input embeddings
/// (width C), or of the keys and values of all layers (width layers * 2 * kv_heads * head_dim: K then V, by layer).
template <class T, Device D>
struct VirtualTokensSite {
  using Element = T;
  using DeviceType = D;
  Tensor<Accumulator<T>, D>& rows;
};

/// The lookup of tokens: `ids` (N) went in, y (N, C) came out and may be changed in place.
template <class T, Device D>
struct LookupSite {
  using Element = T;
  using DeviceType = D;
  const Tensor<std::int32_t, D>& ids;
  Tensor<T, D>& y;
};

/// What walks over a bypass's own weights: called with a name relative to where it sits and the tensor.
template <Device D>
using WeightVisitor = FunctionRef<void(const std::string& name, std::variant<Tensor<float, D>*, Tensor<double, D>*>)>;

/// A type can be inserted at a site when it acts there, lists its weights and says what it is.
template <class F, class Site>
concept BypassFunction = requires(F& f, const Site& site, WeightVisitor<typename Site::DeviceType> visitor) {
  f.apply(site);
  f.visit(visitor);
  { f.kind() } -> std::convertible_to<BypassKind>;
};

/// Any BypassFunction of a site behind a table of function pointers; copies share it.
template <class Site>
class BypassAt {
 public:
  using D = typename Site::DeviceType;

  template <class F>
  requires BypassFunction<F, Site>
  explicit BypassAt(F function) : object_(std::make_shared<F>(std::move(function))), table_(&table_for<F>) {}

  void apply(const Site& site) const { table_->apply(object_.get(), site); }
  void visit(WeightVisitor<D> visitor) const { table_->visit(object_.get(), visitor); }
  BypassKind kind() const { return table_->kind(object_.get()); }
  /// The function itself, if it is an F; else null.
  template <class F>
  F* get_if() const {
    if constexpr (BypassFunction<F, Site>) return table_ == &table_for<F> ? static_cast<F*>(object_.get()) : nullptr;
    return nullptr;
  }

 private:
  struct Table {
    void (*apply)(void*, const Site&);
    void (*visit)(void*, WeightVisitor<D>);
    BypassKind (*kind)(const void*);
  };
  template <class F>
  static constexpr Table table_for{
      [](void* object, const Site& site) { static_cast<F*>(object)->apply(site); },
      [](void* object, WeightVisitor<D> visitor) { static_cast<F*>(object)->visit(visitor); },
      [](const void* object) -> BypassKind { return static_cast<const F*>(object)->kind(); }};

  std::shared_ptr<void> object_;
  const Table* table_;
};

/// A bypass of a linear's part.
template <class T, Device D>
using Bypass = BypassAt<LinearSite<T, D>>;

}  // namespace hone
