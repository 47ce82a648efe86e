// Dropout on the CPU. Whether element e is kept is a function of (seed, offset, e), so the backward pass is the same
// call.
//   y = x * keep / (1 - p),  keep_e = (Philox word of e) >= p * 2^32
#pragma once

#include <hone/core/draw_seed.hpp>
#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/cpu/philox_words.hpp>
#include <hone/cpu/vector_math.hpp>
#include <hone/tensor/kernel.hpp>

namespace hone {

namespace kernel {
struct Dropout;
}  // namespace kernel

namespace cpu {

/// Words below this are dropped. 2^32, one past the largest word, drops all.
inline std::uint64_t dropout_threshold(double p) {
  check(p >= 0 && p <= 1, "[dropout] p is {}, wanted a probability", p);
  return words_of_probability(p);
}

/// Rows [first, last). Words come in chunks that begin at a multiple of four elements: the first chunk of a row may
/// begin up to three elements before it.
template <class T, bool Accumulate>
struct DropoutRows {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(View<const T, 2> x, std::uint32_t threshold, S scale, std::uint64_t seed,
                                     std::uint64_t offset, View<T, 2> y, std::int64_t first, std::int64_t last) {
    const std::int64_t cols = x.extent(1);
    std::uint32_t words[philox_chunk];
    for (std::int64_t row = first; row < last; ++row) {
      const T* HONE_RESTRICT from = x.row(row);
      T* HONE_RESTRICT to = y.row(row);
      const std::int64_t begin = row * cols, block = begin / 4;
      for (std::int64_t col = 4 * block - begin, at = block; col < cols; col += philox_chunk, at += philox_chunk / 4) {
        philox_words(seed, offset, static_cast<std::uint64_t>(at), words);
        const std::int64_t end = col + philox_chunk < cols ? col + philox_chunk : cols;
        for (std::int64_t i = col < 0 ? 0 : col; i < end; ++i) {
          const S value = words[i - col] >= threshold ? widen(from[i]) * scale : S{0};
          to[i] = round_to<T>(Accumulate ? widen(to[i]) + value : value);
        }
      }
    }
  }
};

}  // namespace cpu

/// y (+)= x * keep / (1 - p). `offset` is the Philox stream: one per call of a step keeps the masks independent.
/// Element e is row * columns + column.
template <class T>
void run(Tag<kernel::Dropout>, Cpu& device, In<T, 2> x, double p, DrawSeed where, std::uint64_t offset, View<T, 2> y,
         bool accumulate) {
  const std::uint64_t seed = where.get();
  using S = Accumulator<T>;
  const Isa isa = device.target().isa;
  const std::uint64_t threshold = cpu::dropout_threshold(p);
  const bool all_dropped = threshold >> 32 != 0;
  const auto low = static_cast<std::uint32_t>(threshold);
  const S scale = all_dropped ? S{0} : static_cast<S>(1 / (1 - p));
  cpu::for_ranges(device, x.rows(), cpu::rows_per_task(x.extent(1)), [&](std::int64_t first, std::int64_t last) {
    if (accumulate)
      dispatch<cpu::DropoutRows<T, true>>(isa, x, low, scale, seed, offset, y, first, last);
    else
      dispatch<cpu::DropoutRows<T, false>>(isa, x, low, scale, seed, offset, y, first, last);
  });
}

}  // namespace hone
