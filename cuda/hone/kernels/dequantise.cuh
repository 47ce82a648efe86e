// NF4 and int8 weights back to floating point.
//   NF4:  y = table[code] s      s = absmax of the block, or map[absmax code] nested_absmax + offset    (QLoRA, 2023)
//   int8: y = code absmax of its row / 127                                                        (LLM.int8(), 2022)
// Products and sums are rounded one by one, as on the processor: the results are equal to the bit.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>
#include <hone/quant/codes.hpp>
#include <hone/quant/quantisation.hpp>

#include <algorithm>
#include <cstdint>

namespace hone {

namespace kernel {
struct DequantiseNf4;
struct DequantiseNf4Nested;
struct DequantiseInt8;
}  // namespace kernel

inline namespace HONE_TARGET {

inline constexpr int dequantise_threads = 256;
/// Codes a lane loads at a time are 16 bytes, so a warp makes this many elements of them.
inline constexpr std::int64_t nf4_warp_elements = 32 * warp_lanes;
/// The tables lie in shared memory: a lane's index into a register array would put it in local memory.
struct Nf4Tables {
  float values[16];
  float map[256];  // of double quantisation
};

/// Scales as they are stored.
struct PlainScales {
  static constexpr bool nested = false;
  const float* absmax;

  __device__ float operator()(std::int64_t block, const Nf4Tables&) const { return load(absmax + block); }
};
struct NestedScaleCodes {
  static constexpr bool nested = true;
  const std::uint8_t* codes;
  const float* absmax;
  const float* map;
  const float* offset;

  __device__ float operator()(std::int64_t block, const Nf4Tables& tables) const {
    const float product = rounded_product(tables.map[load(codes + block)], load(absmax + block / nested_block));
    return rounded_sum(product, load(offset));
  }
};

/// Code 0 to 15 as its value. Passed to kernels by value: constants that a kernel may index at run time.
struct Nf4Values {
  float values[16];
};

/// Fills the tables of a block.
template <class Scales>
__device__ void fill_tables(Nf4Tables& tables, const Nf4Values& values, [[maybe_unused]] const Scales& scales) {
  const int thread = static_cast<int>(threadIdx.x);
  HONE_UNROLL
  for (int i = 0; i < 16; ++i)
    if (thread == i) tables.values[i] = values.values[i];
  if constexpr (Scales::nested) tables.map[thread] = load(scales.map + thread);
  __syncthreads();
}

/// Element `i` of the eight in `word`: the high half of a byte comes first.
__device__ inline int nf4_code_of(std::uint32_t word, int i) {
  return static_cast<int>(word >> (i / 2 * 8 + (i % 2 == 0 ? 4 : 0)) & 15u);
}

/// A warp makes nf4_warp_elements elements. Lane l loads the codes of elements 32 l to 32 l + 31; the words then change
/// lanes, so that neighbouring lanes store neighbouring 16 bytes.
template <class T, class Scales>
__global__ void __launch_bounds__(dequantise_threads)
    dequantise_nf4_kernel(const std::uint8_t* codes, Scales scales, Nf4Values values, T* y, std::int64_t warps) {
  auto& tables = shared_memory<Nf4Tables>();
  fill_tables(tables, values, scales);
  const std::int64_t warp = std::int64_t{blockIdx.x} * (dequantise_threads / warp_lanes) + warp_index();
  if (warp >= warps) return;
  constexpr int width = vector_width<T>, stores = 32 / width;
  const int lane = lane_index();
  const auto words = load<4>(reinterpret_cast<const std::uint32_t*>(codes + warp * nf4_warp_elements / 2) + lane * 4);
  HONE_UNROLL
  for (int i = 0; i < stores; ++i) {
    const int first = (i * warp_lanes + lane) * width;  // of the warp's elements
    const int word = first / 8, source = word / 4, which = word % 4;
    std::uint32_t eight = 0;
    HONE_UNROLL
    for (int k = 0; k < 4; ++k) {
      const std::uint32_t candidate = warp_shuffle(words[k], source);
      if (k == which) eight = candidate;
    }
    const std::int64_t begin = warp * nf4_warp_elements + first;
    const float scale = scales(begin / nf4_block, tables);
    Vec<T, width> out;
    HONE_UNROLL
    for (int j = 0; j < width; ++j)
      out[j] = from_float<T>(tables.values[nf4_code_of(eight >> (first % 8) * 4, j)] * scale);
    store(y + begin, out);
  }
}

/// The elements from `begin` on, one a thread: what is left of whole warps, or all of a y that is not aligned.
template <class T, class Scales>
__global__ void __launch_bounds__(dequantise_threads)
    dequantise_nf4_rest_kernel(const std::uint8_t* codes, Scales scales, Nf4Values values, T* y, std::int64_t begin,
                               std::int64_t end) {
  auto& tables = shared_memory<Nf4Tables>();
  fill_tables(tables, values, scales);
  const std::int64_t i = begin + std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= end) return;
  const std::uint32_t byte = load(codes + i / 2);
  store(y + i,
        from_float<T>(tables.values[nf4_code_of(byte, static_cast<int>(i % 2))] * scales(i / nf4_block, tables)));
}

/// One thread for V neighbouring elements of a row.
template <class T, int V>
__global__ void __launch_bounds__(dequantise_threads)
    dequantise_int8_kernel(Rows<const std::int8_t> codes, const float* absmax, Rows<T> y, std::int64_t rows,
                           std::int64_t vectors) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * vectors) return;
  const std::int64_t row = item / vectors, col = item % vectors * V;
  const auto code = load<V>(codes.row(row) + col);
  const float scale = load(absmax + row);
  Vec<T, V> out;
  for (int i = 0; i < V; ++i) out[i] = from_float<T>(static_cast<float>(code[i]) * scale * int8_step);
  store(y.row(row) + col, out);
}

namespace kernel_detail {

template <class T, class Scales>
void dequantise_nf4(KernelDevice& device, const View<const std::uint8_t, 1>& codes, const Scales& scales,
                    const View<T, 1>& y) {
  const std::int64_t elements = y.extent(0);
  check(codes.extent(0) == ceil_div(elements, std::int64_t{2}) && y.packed() && codes.packed(),
        "[dequantise] {} codes of two elements for {} elements", codes.extent(0), elements);
  if (elements == 0) return;
  Nf4Values values{};
  std::copy(nf4_table.begin(), nf4_table.end(), values.values);
  const auto aligned = [](const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; };
  const std::int64_t warps = aligned(codes.data) && aligned(y.data) ? elements / nf4_warp_elements : 0;
  const std::int64_t rest = warps * nf4_warp_elements;
  if (warps > 0)
    launch(device, "dequantise_nf4", shape_for(warps * warp_lanes, dequantise_threads, sizeof(Nf4Tables)),
           &dequantise_nf4_kernel<T, Scales>, codes.data, scales, values, y.data, warps);
  if (rest < elements)
    launch(device, "dequantise_nf4_rest", shape_for(elements - rest, dequantise_threads, sizeof(Nf4Tables)),
           &dequantise_nf4_rest_kernel<T, Scales>, codes.data, scales, values, y.data, rest, elements);
}

}  // namespace kernel_detail

/// y from two codes a byte and the absmax of every 64.
template <class T>
void run(Tag<kernel::DequantiseNf4>, KernelDevice& device, In<std::uint8_t, 1> codes, In<float, 1> absmax,
         View<T, 1> y) {
  kernel_detail::dequantise_nf4(device, codes, PlainScales{absmax.data}, y);
}

/// The same from absmax in 8 bits.
template <class T>
void run(Tag<kernel::DequantiseNf4Nested>, KernelDevice& device, In<std::uint8_t, 1> codes,
         In<std::uint8_t, 1> absmax_codes, In<float, 1> nested_absmax, In<float, 1> map, In<float, 1> offset,
         View<T, 1> y) {
  kernel_detail::dequantise_nf4(device, codes,
                                NestedScaleCodes{absmax_codes.data, nested_absmax.data, map.data, offset.data}, y);
}

/// y (rows, in) from codes (rows, in) and absmax (rows).
template <class T>
void run(Tag<kernel::DequantiseInt8>, KernelDevice& device, In<std::int8_t, 2> codes, In<float, 1> absmax,
         View<T, 2> y) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  check(codes.rows() == rows && codes.extent(1) == cols && absmax.extent(0) == rows,
        "[dequantise] codes ({}, {}) and absmax ({}) for y ({}, {})", codes.rows(), codes.extent(1), absmax.extent(0),
        rows, cols);
  if (rows * cols == 0) return;
  constexpr int width = vector_width<T>;
  const bool aligned = reinterpret_cast<std::uintptr_t>(codes.data) % width == 0 && codes.stride % width == 0;
  const bool vectors = aligned && allows_vectors(y);
  const std::int64_t per_row = cols / (vectors ? width : 1);
  constexpr auto wide = &dequantise_int8_kernel<T, width>;
  constexpr auto scalar = &dequantise_int8_kernel<T, 1>;
  launch(device, "dequantise_int8", shape_for(rows * per_row, dequantise_threads), vectors ? wide : scalar,
         rows_of(codes), absmax.data, rows_of(y), rows, per_row);
}

}  // namespace HONE_TARGET
}  // namespace hone
