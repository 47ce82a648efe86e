// A weight stored in NF4 or int8, and how it becomes a dense one again.
#pragma once

#include <hone/quant/quantisation.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/tensor.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace hone {

namespace kernel {
/// y = table[code] * absmax of its block.
struct DequantiseNf4 {
  static double flops(const auto&, const auto&, const auto& y) { return flops_per_element(1, y); }
};
/// The same where absmax is stored in 8 bits: map[code] * absmax of its 256 + offset.
struct DequantiseNf4Nested {
  static double flops(const auto&, const auto&, const auto&, const auto&, const auto&, const auto& y) {
    return flops_per_element(1, y);
  }
};
/// y = code * absmax of its row / 127.
struct DequantiseInt8 {
  static double flops(const auto&, const auto&, const auto& y) { return flops_per_element(1, y); }
};
}  // namespace kernel

/// Codes in row-major order, two to a byte, the first in the high half; a block does not end at a row's end. The scales
/// are either `absmax`, or `absmax_codes` with what makes them scales again.
template <Device D>
struct Nf4Weight {
  Tensor<std::uint8_t, D> codes;         // (elements / 2), rounded up
  Tensor<float, D> absmax;               // (blocks)
  Tensor<std::uint8_t, D> absmax_codes;  // (blocks)
  Tensor<float, D> nested_absmax;        // (blocks / 256), rounded up
  Tensor<float, D> nested_map;           // (256)
  Tensor<float, D> nested_offset;        // (1)

  bool nested() const { return absmax_codes.defined(); }
};

/// Codes from -127 to 127 and the largest magnitude of each row (bitsandbytes: SCB).
template <Device D>
struct Int8Weight {
  Tensor<std::int8_t, D> codes;  // (rows, in)
  Tensor<float, D> absmax;       // (rows)
};

/// A matrix (rows, in) in one of these forms; copies share memory.
template <Device D>
class QuantisedWeight {
 public:
  /// Uninitialised, booked as weights under `name`.
  QuantisedWeight(const D& device, const Shape& shape, const Quantisation& quantisation, std::string_view name)
      : shape_(shape) {
    check(shape.rank() == 2, "[quant] a matrix is quantised, got shape {}", shape);
    const Label label{Category::weights, name};
    if (quantisation.type == QuantType::int8) {
      form_ = Int8Weight<D>{Tensor<std::int8_t, D>::empty(device, shape, label),
                            Tensor<float, D>::empty(device, {shape[0]}, label)};
      return;
    }
    const std::int64_t blocks = ceil_div(shape.elements(), nf4_block);
    Nf4Weight<D> nf4;
    nf4.codes = Tensor<std::uint8_t, D>::empty(device, {ceil_div(shape.elements(), std::int64_t{2})}, label);
    if (quantisation.double_quant) {
      nf4.absmax_codes = Tensor<std::uint8_t, D>::empty(device, {blocks}, label);
      nf4.nested_absmax = Tensor<float, D>::empty(device, {ceil_div(blocks, nested_block)}, label);
      nf4.nested_map = Tensor<float, D>::empty(device, {256}, label);
      nf4.nested_offset = Tensor<float, D>::empty(device, {1}, label);
    } else {
      nf4.absmax = Tensor<float, D>::empty(device, {blocks}, label);
    }
    form_ = std::move(nf4);
  }

  const D& device() const { return int8() != nullptr ? int8()->codes.device() : nf4()->codes.device(); }
  const Shape& shape() const { return shape_; }
  QuantType type() const { return nf4() != nullptr ? QuantType::nf4 : QuantType::int8; }
  const Nf4Weight<D>* nf4() const { return std::get_if<Nf4Weight<D>>(&form_); }
  const Int8Weight<D>* int8() const { return std::get_if<Int8Weight<D>>(&form_); }

  /// f(name in the module, tensor) for everything stored, by the names of bitsandbytes' files. The offset of double
  /// quantisation, which files keep inside quant_state, goes by "weight.nested_offset".
  template <class F>
  void visit(F&& f) const {
    if (const auto* weight = int8()) {
      f("weight", weight->codes);
      f("SCB", weight->absmax);
      return;
    }
    const Nf4Weight<D>& weight = *nf4();
    f("weight", weight.codes);
    if (!weight.nested()) return f("weight.absmax", weight.absmax);
    f("weight.absmax", weight.absmax_codes);
    f("weight.nested_absmax", weight.nested_absmax);
    f("weight.nested_quant_map", weight.nested_map);
    f("weight.nested_offset", weight.nested_offset);
  }

  /// Bytes of all that is stored, before rounding to the device's alignment.
  std::int64_t bytes() const {
    std::int64_t out = 0;
    visit([&](const char*, const auto& tensor) { out += tensor.bytes(); });
    return out;
  }

 private:
  Shape shape_;
  std::variant<Nf4Weight<D>, Int8Weight<D>> form_;
};

/// What the quantised weights of a model hold.
struct QuantisedShare {
  std::int64_t elements = 0, bytes = 0;

  template <Device D>
  void add(const QuantisedWeight<D>& weight) {
    elements += weight.shape().elements();
    bytes += weight.bytes();
  }
  double bits() const { return 8.0 * static_cast<double>(bytes) / static_cast<double>(elements); }
  /// "6979321856 parameters in nf4, 4.127 bits each".
  std::string words(QuantType type) const {
    return fmt::format("{} parameters in {}, {:.3f} bits each", elements, name_of(type), bits());
  }
};

/// Writes the dense weight into `out`, a packed tensor of the same shape: code times scale in float, rounded once.
template <class T, Device D>
void dequantise(const QuantisedWeight<D>& weight, const Tensor<T, D>& out) {
  check(out.shape() == weight.shape() && out.packed(), "[dequantise] a packed tensor of shape {} was expected, got {}",
        weight.shape(), out.shape());
  const D& device = out.device();
  if (const auto* int8 = weight.int8())
    return run_kernel<kernel::DequantiseInt8>(device, int8->codes.template in<2>(), int8->absmax.template in<1>(),
                                              out.template view<2>());
  const Nf4Weight<D>& nf4 = *weight.nf4();
  if (!nf4.nested())
    return run_kernel<kernel::DequantiseNf4>(device, nf4.codes.template in<1>(), nf4.absmax.template in<1>(),
                                             out.flat());
  run_kernel<kernel::DequantiseNf4Nested>(device, nf4.codes.template in<1>(), nf4.absmax_codes.template in<1>(),
                                          nf4.nested_absmax.template in<1>(), nf4.nested_map.template in<1>(),
                                          nf4.nested_offset.template in<1>(), out.flat());
}

}  // namespace hone
