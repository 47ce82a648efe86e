// Weights into a quantised form, piece by piece: neither the dense weight nor a copy of it is ever held whole.
#pragma once

#include <hone/core/function_ref.hpp>
#include <hone/cpu/quantise.hpp>
#include <hone/quant/quantised_weight.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace hone {

/// Writes elements [begin, begin + count) of a weight, in row-major order.
using ElementReader = FunctionRef<void(std::int64_t begin, std::int64_t count, float* out)>;

namespace detail {

/// Elements that pass through the host at a time on their way to or from a device; whole blocks.
inline constexpr std::int64_t staging_elements = std::int64_t{4} << 20;

/// Quantising runs on the processor, whatever the weight is for: on its own workers if that is where it is.
template <Device D>
Cpu host_of([[maybe_unused]] const D& device) {
  if constexpr (std::is_same_v<D, Cpu>)
    return device;
  else
    return Cpu{};
}

/// Why the scale of elements [begin, begin + count) is not a number.
[[noreturn]] inline void refuse_element(ElementReader read, std::int64_t begin, std::int64_t count,
                                        const std::string& what) {
  std::vector<float> values(static_cast<std::size_t>(count));
  read(begin, count, values.data());
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = values[static_cast<std::size_t>(i)];
    check(std::isfinite(value), "{}: element {} is {}: the weight cannot be quantised", what, begin + i, value);
    check(std::isfinite(static_cast<float>(fp16(value))),
          "{}: element {} is {}: int8 is made from fp16, which does not reach that far", what, begin + i, value);
  }
  fail("{}: the scale of elements from {} on is not finite", what, begin);
}

/// absmax[i] is the scale of elements [first + i size, first + (i + 1) size) of `elements`.
inline void check_scales(std::span<const float> absmax, std::int64_t first, std::int64_t size, std::int64_t elements,
                         ElementReader read, const std::string& what) {
  for (std::size_t i = 0; i < absmax.size(); ++i) {
    if (std::isfinite(absmax[i])) continue;
    const std::int64_t begin = first + static_cast<std::int64_t>(i) * size;
    refuse_element(read, begin, std::min(size, elements - begin), what);
  }
}

template <Device D>
void quantise_nf4(ElementReader read, const Nf4Weight<D>& out, std::int64_t elements, const std::string& what) {
  Cpu host = host_of(out.codes.device());
  const std::int64_t most = std::min(staging_elements, elements);
  std::vector<float> values(static_cast<std::size_t>(most));
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(ceil_div(most, std::int64_t{2})));
  std::vector<float> absmax(static_cast<std::size_t>(ceil_div(elements, nf4_block)));
  for (std::int64_t begin = 0; begin < elements; begin += staging_elements) {
    const std::int64_t count = std::min(staging_elements, elements - begin), bytes = ceil_div(count, std::int64_t{2});
    read(begin, count, values.data());
    float* scales = absmax.data() + begin / nf4_block;
    const std::int64_t blocks = ceil_div(count, nf4_block);
    run(Tag<kernel::QuantiseNf4>{}, host, View<const float, 1>{values.data(), {count}, 1},
        View<std::uint8_t, 1>{codes.data(), {bytes}, 1}, View<float, 1>{scales, {blocks}, 1});
    check_scales({scales, static_cast<std::size_t>(blocks)}, begin, nf4_block, elements, read, what);
    out.codes.rows(begin / 2, bytes).copy_from({codes.data(), static_cast<std::size_t>(bytes)});
  }
  if (!out.nested()) return out.absmax.copy_from(absmax);
  const NestedScales nested = quantise_scales(absmax);
  out.absmax_codes.copy_from(nested.codes);
  out.nested_absmax.copy_from(nested.absmax);
  out.nested_map.copy_from(dynamic_map);
  out.nested_offset.copy_from({&nested.offset, 1});
}

template <Device D>
void quantise_int8(ElementReader read, const Int8Weight<D>& out, const std::string& what) {
  Cpu host = host_of(out.codes.device());
  const std::int64_t rows = out.codes.extent(0), in = out.codes.extent(1);
  const std::int64_t step = std::max<std::int64_t>(1, staging_elements / std::max<std::int64_t>(1, in));
  const auto most = static_cast<std::size_t>(std::min(step, rows));
  std::vector<float> values(most * static_cast<std::size_t>(in)), absmax(most);
  std::vector<std::int8_t> codes(values.size());
  for (std::int64_t row = 0; row < rows; row += step) {
    const std::int64_t count = std::min(step, rows - row);
    read(row * in, count * in, values.data());
    run(Tag<kernel::QuantiseInt8>{}, host, View<const float, 2>{values.data(), {count, in}, in},
        View<std::int8_t, 2>{codes.data(), {count, in}, in}, View<float, 1>{absmax.data(), {count}, 1});
    const std::span<const float> scales(absmax.data(), static_cast<std::size_t>(count));
    check_scales(scales, row * in, in, rows * in, read, what);
    out.codes.rows(row, count).copy_from({codes.data(), static_cast<std::size_t>(count * in)});
    out.absmax.rows(row, count).copy_from(scales);
  }
}

}  // namespace detail

/// Quantises what `read` gives into `out`; on Meta nothing is read. A value that is not finite is an Error that opens
/// with `what` and names the element.
template <Device D>
void quantise(ElementReader read, const QuantisedWeight<D>& out, const std::string& what) {
  if constexpr (!std::is_same_v<D, Meta>) {
    if (const auto* int8 = out.int8()) return detail::quantise_int8(read, *int8, what);
    detail::quantise_nf4(read, *out.nf4(), out.shape().elements(), what);
  }
}

}  // namespace hone
