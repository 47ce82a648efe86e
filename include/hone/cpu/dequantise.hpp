// NF4 and int8 weights back to floating point on the processor.
//   NF4:  y = table[code] s      s = absmax of the block, or map[absmax code] nested_absmax + offset    (QLoRA, 2023)
//   int8: y = code absmax of its row / 127                                                        (LLM.int8(), 2022)
// Products and sums are rounded one by one, as bitsandbytes rounds them: nothing here may be contracted to an fma.
#pragma once

#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/cpu/vector_math.hpp>
#include <hone/quant/codes.hpp>
#include <hone/quant/quantisation.hpp>
#include <hone/tensor/kernel.hpp>

namespace hone {

namespace kernel {
struct DequantiseNf4;
struct DequantiseNf4Nested;
struct DequantiseInt8;
}  // namespace kernel

namespace cpu {

/// What both codes of a byte stand for.
struct Nf4Pair {
  float high, low;
};
inline constexpr std::array<Nf4Pair, 256> nf4_pairs = [] {
  std::array<Nf4Pair, 256> out{};
  for (std::size_t byte = 0; byte < out.size(); ++byte) out[byte] = {nf4_table[byte >> 4], nf4_table[byte & 15]};
  return out;
}();

/// `elements` elements from the start of a block on, scales[i] being that of block i. A block's table values go through
/// a local array: looked up two at a time there, they are multiplied and rounded in whole vectors.
template <class T>
struct Nf4Blocks {
  HONE_ALWAYS_INLINE static void run(const std::uint8_t* HONE_RESTRICT codes, const float* HONE_RESTRICT scales,
                                     std::int64_t elements, T* HONE_RESTRICT out) {
    alignas(64) float values[nf4_block];
    for (std::int64_t begin = 0; begin < elements; begin += nf4_block) {
      const float scale = scales[begin / nf4_block];
      const std::uint8_t* source = codes + begin / 2;
      T* HONE_RESTRICT sink = out + begin;
      const std::int64_t count = elements - begin;
      if (count >= nf4_block) {
        for (std::int64_t i = 0; i < nf4_block / 2; ++i) look_up(source[i], values + 2 * i);
        for (std::int64_t i = 0; i < nf4_block; ++i) sink[i] = round_to<T>(values[i] * scale);
      } else {
        for (std::int64_t i = 0; i < (count + 1) / 2; ++i) look_up(source[i], values + 2 * i);
        for (std::int64_t i = 0; i < count; ++i) sink[i] = round_to<T>(values[i] * scale);
      }
    }
  }

 private:
  HONE_ALWAYS_INLINE static void look_up(std::uint8_t byte, float* to) {
    __builtin_memcpy(to, &nf4_pairs[byte], sizeof(Nf4Pair));
  }
};

/// The scales of `count` blocks from block `first` on.
HONE_TARGET_PORTABLE inline void nested_scales(const std::uint8_t* codes, const float* absmax, const float* map,
                                               float offset, std::int64_t first, std::int64_t count, float* out) {
  HONE_PORTABLE_ROUNDING
  for (std::int64_t i = 0; i < count; ++i) out[i] = map[codes[first + i]] * absmax[(first + i) / nested_block] + offset;
}

/// Blocks that a task takes: 16,384 elements.
inline constexpr std::int64_t nf4_blocks_per_task = 256;

/// Calls body(first block, count) over all blocks of `elements` elements.
template <class F>
void for_nf4_blocks(Cpu& device, std::int64_t elements, F&& body) {
  for_ranges(device, ceil_div(elements, nf4_block), nf4_blocks_per_task,
             [&](std::int64_t first, std::int64_t last) { body(first, last - first); });
}

/// Row `row` of an int8 weight.
template <class T>
struct Int8Row {
  HONE_ALWAYS_INLINE static void run(const std::int8_t* HONE_RESTRICT codes, float absmax, std::int64_t count,
                                     T* HONE_RESTRICT out) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = round_to<T>(static_cast<float>(codes[i]) * absmax * int8_step);
  }
};

}  // namespace cpu

template <class T>
void run(Tag<kernel::DequantiseNf4>, Cpu& device, In<std::uint8_t, 1> codes, In<float, 1> absmax, View<T, 1> y) {
  const auto blocks =
      isa_path<cpu::Nf4Blocks<T>, const std::uint8_t*, const float*, std::int64_t, T*>(device.target().isa);
  cpu::for_nf4_blocks(device, y.extent(0), [&](std::int64_t first, std::int64_t count) {
    const std::int64_t begin = first * nf4_block, elements = std::min(count * nf4_block, y.extent(0) - begin);
    blocks(codes.data + begin / 2, absmax.data + first, elements, y.data + begin);
  });
}

template <class T>
void run(Tag<kernel::DequantiseNf4Nested>, Cpu& device, In<std::uint8_t, 1> codes, In<std::uint8_t, 1> absmax_codes,
         In<float, 1> nested_absmax, In<float, 1> map, In<float, 1> offset, View<T, 1> y) {
  const auto blocks =
      isa_path<cpu::Nf4Blocks<T>, const std::uint8_t*, const float*, std::int64_t, T*>(device.target().isa);
  cpu::for_nf4_blocks(device, y.extent(0), [&](std::int64_t first, std::int64_t count) {
    float scales[cpu::nf4_blocks_per_task];
    cpu::nested_scales(absmax_codes.data, nested_absmax.data, map.data, offset.data[0], first, count, scales);
    const std::int64_t begin = first * nf4_block, elements = std::min(count * nf4_block, y.extent(0) - begin);
    blocks(codes.data + begin / 2, scales, elements, y.data + begin);
  });
}

template <class T>
void run(Tag<kernel::DequantiseInt8>, Cpu& device, In<std::int8_t, 2> codes, In<float, 1> absmax, View<T, 2> y) {
  const auto path = isa_path<cpu::Int8Row<T>, const std::int8_t*, float, std::int64_t, T*>(device.target().isa);
  cpu::for_rows(device, y.rows(), y.extent(1),
                [&](std::int64_t row) { path(codes.row(row), absmax.data[row], y.extent(1), y.row(row)); });
}

}  // namespace hone
