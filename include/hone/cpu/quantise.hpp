// Floating point to NF4 and int8 on the processor, to the bits of bitsandbytes' CPU backend (0.50).
//   NF4:    absmax = max |x| of 64 neighbours; the code whose table value is nearest to x (1 / absmax)
//   scales: double quantisation stores absmax - mean(absmax) in 8 bits of the dynamic type, by 256
//   int8:   round(127 x / absmax of the row) of x in fp16
#pragma once

#include <hone/cpu/dequantise.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace hone {

namespace kernel {
struct QuantiseNf4;
struct QuantiseInt8;
}  // namespace kernel

namespace cpu {

/// Largest magnitude of `count` values, NaN where one of them is not finite (a comparison alone would lose it).
template <class T>
HONE_ALWAYS_INLINE float absmax_of(const T* HONE_RESTRICT x, std::int64_t count) {
  float largest = 0, poison = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = widen(x[i]), magnitude = value < 0 ? -value : value;
    largest = magnitude > largest ? magnitude : largest;
    poison += value * 0.0f;
  }
  return largest + poison;
}

/// The number of bounds below `scaled`: its NF4 code.
HONE_ALWAYS_INLINE std::int32_t nf4_code(float scaled) {
  std::int32_t code = 0;
  for (const float bound : nf4_bounds) code += scaled > bound ? 1 : 0;
  return code;
}

/// `elements` elements from the start of a block on. A last block that is not full is divided, not multiplied, as
/// bitsandbytes does: the codes may differ where that rounds to the other side of a bound.
template <class T>
struct Nf4Quantise {
  HONE_ALWAYS_INLINE static void run(const T* HONE_RESTRICT x, std::int64_t elements, std::uint8_t* HONE_RESTRICT codes,
                                     float* HONE_RESTRICT absmax) {
    constexpr float least = 1e-38f;
    std::int32_t of_block[nf4_block + 1];
    for (std::int64_t begin = 0; begin < elements; begin += nf4_block) {
      const std::int64_t count = elements - begin < nf4_block ? elements - begin : nf4_block;
      const T* HONE_RESTRICT source = x + begin;
      const float largest = absmax_of(source, count);
      const float divisor = largest < least ? least : largest, factor = 1.0f / divisor;
      const bool full = count == nf4_block;
      for (std::int64_t i = 0; i < count; ++i)
        of_block[i] = nf4_code(full ? widen(source[i]) * factor : widen(source[i]) / divisor);
      of_block[count] = nf4_code(0);  // what pairs with the last of an odd number
      for (std::int64_t i = 0; i < (count + 1) / 2; ++i)
        codes[begin / 2 + i] = static_cast<std::uint8_t>(of_block[2 * i] << 4 | of_block[2 * i + 1]);
      absmax[begin / nf4_block] = full ? largest : divisor;
    }
  }
};

/// One row; x is rounded to fp16 on the way. A row of zeros has codes 0. For the portable path alone: on another the
/// product and the sum that rounds it could become one fma.
template <class T>
struct Int8Quantise {
  HONE_ALWAYS_INLINE static void run(const T* HONE_RESTRICT x, std::int64_t count, std::int8_t* HONE_RESTRICT codes,
                                     float* HONE_RESTRICT absmax) {
    float largest = 0, poison = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(fp16(widen(x[i]))), magnitude = value < 0 ? -value : value;
      largest = magnitude > largest ? magnitude : largest;
      poison += value * 0.0f;
    }
    *absmax = largest + poison;
    if (*absmax != *absmax) {  // a NaN is no integer, and nobody reads the codes of a row whose scale is one
      for (std::int64_t i = 0; i < count; ++i) codes[i] = 0;
      return;
    }
    const float factor = largest > 0 ? 127.0f * (1.0f / largest) : 0.0f;  // PyTorch's 127 / absmax, to the last bit
    // 1.5 * 2^23 pushes the fraction out of a float: what is left is rounded to nearest even.
    constexpr float shift = 12582912.0f;
    for (std::int64_t i = 0; i < count; ++i) {
      const float rounded = static_cast<float>(fp16(widen(x[i]))) * factor;
      codes[i] = static_cast<std::int8_t>(static_cast<std::int32_t>(rounded + shift - shift));
    }
  }
};

/// Where the 65,536 values that bitsandbytes' CPU backend first rounds to lie on dynamic_map.
inline std::uint8_t dynamic_code(float scaled) {
  const auto at = static_cast<std::int32_t>((scaled + 1.0f) * 32767.5f + 0.5f);
  const float snapped = static_cast<float>(std::clamp(at, 0, 65535)) / 32767.5f - 1.0f;
  const auto below = [](float low, float high, float value) { return (low + high) / 2 < value; };
  std::int32_t code = 0;
  for (std::int32_t step = 128; step > 0; step /= 2)
    if (const auto next = static_cast<std::size_t>(code + step);
        below(dynamic_map[next - 1], dynamic_map[next], snapped))
      code += step;
  return static_cast<std::uint8_t>(code);
}

}  // namespace cpu

/// codes (elements / 2) and absmax (blocks) of x. absmax is NaN where a block has a value that is not finite.
template <class T>
void run(Tag<kernel::QuantiseNf4>, Cpu& device, View<const T, 1> x, View<std::uint8_t, 1> codes,
         View<float, 1> absmax) {
  const auto path = isa_path<cpu::Nf4Quantise<T>, const T*, std::int64_t, std::uint8_t*, float*>(device.target().isa);
  cpu::for_nf4_blocks(device, x.extent(0), [&](std::int64_t first, std::int64_t count) {
    const std::int64_t begin = first * nf4_block, elements = std::min(count * nf4_block, x.extent(0) - begin);
    path(x.data + begin, elements, codes.data + begin / 2, absmax.data + first);
  });
}

/// codes (rows, in) and absmax (rows) of x. absmax is NaN where a row has a value that is not finite in fp16.
template <class T>
void run(Tag<kernel::QuantiseInt8>, Cpu& device, View<const T, 2> x, View<std::int8_t, 2> codes,
         View<float, 1> absmax) {
  const auto path = isa_path<cpu::Int8Quantise<T>, const T*, std::int64_t, std::int8_t*, float*>(Isa::portable);
  cpu::for_rows(device, x.rows(), x.extent(1),
                [&](std::int64_t row) { path(x.row(row), x.extent(1), codes.row(row), absmax.data + row); });
}

/// Scales in 8 bits: what double quantisation keeps of them.
struct NestedScales {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;  ///< of each 256
  float offset = 0;           ///< the mean that was taken off
};

/// `offset` is the mean of `absmax`.
HONE_TARGET_PORTABLE inline NestedScales quantise_scales(std::span<const float> absmax, float offset) {
  HONE_PORTABLE_ROUNDING
  NestedScales out{std::vector<std::uint8_t>(absmax.size()), {}, offset};
  for (std::size_t begin = 0; begin < absmax.size(); begin += nested_block) {
    const std::size_t end = std::min<std::size_t>(absmax.size(), begin + nested_block);
    float largest = 0;
    for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(absmax[i] - offset));
    const float factor = 1.0f / largest;
    for (std::size_t i = begin; i < end; ++i)
      out.codes[i] = largest > 0 ? cpu::dynamic_code((absmax[i] - offset) * factor) : std::uint8_t{0};
    out.absmax.push_back(largest);
  }
  return out;
}

/// The mean is summed in double and rounded once. (bitsandbytes' is PyTorch's float sum, whose last bit depends on the
/// machine and its threads.)
inline NestedScales quantise_scales(std::span<const float> absmax) {
  double sum = 0;
  for (const float value : absmax) sum += static_cast<double>(value);
  return quantise_scales(absmax,
                         static_cast<float>(sum / static_cast<double>(std::max<std::size_t>(1, absmax.size()))));
}

}  // namespace hone
