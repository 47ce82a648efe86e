// MatMul: c = alpha op(a) op(b) (+ c), on tensor cores with bf16 factors and fp32 sums, by mma.sync m16n8k16.
// A block of four warps makes a tile of c. Its factors come tile by tile along k into shared memory, two buffers in
// turn: while the warps multiply one, cp.async fills the other. Warps read fragments with ldmatrix, which also
// transposes, so that all four combinations of transposed factors are the same loop. A float factor beside a bf16 one
// is rounded on the way in; two float factors are multiplied in fp32 (matmul_float.cuh). Where the device has a GEMM
// library (cuBLASLt), large products are the library's, and these kernels take what it refuses.
#pragma once

#include <hone/kernels/matmul_float.cuh>
#include <hone/prim/async_copy.cuh>
#include <hone/prim/fragments.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>
#include <hone/tensor/driver.hpp>
#include <hone/tensor/matmul_options.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>

namespace hone {

namespace kernel {
struct MatMul;
}

inline namespace HONE_TARGET {

// ---- kernels ----

/// The tile a block makes and how its warps share it: 2 x 2 warps, each 32 x 32 of c in fragments of 16 x 8.
struct MatMulTile {
  static constexpr int m = 64, n = 64, k = 64;
  static constexpr int warps_m = 2, warps_n = 2;
  static constexpr int threads = warps_m * warps_n * 32;
  static constexpr int fragments_m = m / warps_m / 16, fragments_n = n / warps_n / 8;
};

/// One factor as it lies in memory: `rows` x `cols` with rows `stride` apart. `vectors`: rows may be read 16 bytes at a
/// time.
template <class T>
struct Factor {
  const T* data;
  std::int64_t rows, cols, stride;
  bool vectors;
};

template <class A, class B, class C>
struct MatMulArgs {
  Factor<A> a;
  Factor<B> b;
  Rows<C> c;
  std::int64_t m, n, k;
  float alpha;
  bool accumulate;
  bool vectors;  // rows of c may be written 16 bytes at a time
};

/// Two buffers of both tiles. A transposed factor keeps its own row order: a is then (k, m), b is (n, k).
template <bool TransposeA, bool TransposeB>
struct alignas(128) MatMulShared {
  using Tile = MatMulTile;
  HalfTile<TransposeA ? Tile::k : Tile::m, TransposeA ? Tile::m : Tile::k> a[2];
  HalfTile<TransposeB ? Tile::n : Tile::k, TransposeB ? Tile::k : Tile::n> b[2];
};

/// Starts filling `tile` with the part of `factor` at (row, col); what lies outside becomes zero. Rows that do not
/// allow vectors, and floats, are copied at once, element by element.
template <class Tile, class T>
__device__ void fill_tile(Tile& tile, const Factor<T>& factor, std::int64_t row, std::int64_t col) {
  constexpr int width = 8, per_row = Tile::cols / width;
  for (int item = thread_index(); item < Tile::rows * per_row; item += MatMulTile::threads) {
    const int r = item / per_row, c = item % per_row * width;
    const std::int64_t inside = row + r < factor.rows && col + c < factor.cols ? factor.cols - (col + c) : 0;
    const int wanted = inside < width ? static_cast<int>(inside) : width;
    bf16* to = tile.at(r, c);
    // With nothing to read the address still has to be a valid one.
    const T* from = wanted > 0 ? factor.data + (row + r) * factor.stride + col + c : factor.data;
    if constexpr (std::is_same_v<T, bf16>) {
      if (factor.vectors) {
        async_copy16(to, from, wanted * static_cast<int>(sizeof(bf16)));
        continue;
      }
    }
    Vec<bf16, width> values{};
    HONE_UNROLL
    for (int i = 0; i < width; ++i)
      if (i < wanted) values[i] = from_float<bf16>(to_float(load(from + i)));
    store(to, values);
  }
}

using MatMulSums = float[MatMulTile::fragments_m][MatMulTile::fragments_n][4];

/// Adds the product of one pair of tiles to the warp's sums.
template <bool TransposeA, bool TransposeB, class TileA, class TileB>
__device__ void multiply_tiles(MatMulSums& sums, const TileA& a, const TileB& b, int warp_m, int warp_n) {
  using Tile = MatMulTile;
  HONE_UNROLL
  for (int k = 0; k < Tile::k; k += 16) {
    std::uint32_t left[Tile::fragments_m][4];
    HONE_UNROLL
    for (int i = 0; i < Tile::fragments_m; ++i) {
      if constexpr (TransposeA)
        load_left_transposed(left[i], a, k, warp_m + i * 16);
      else
        load_left(left[i], a, warp_m + i * 16, k);
    }
    HONE_UNROLL
    for (int j = 0; j < Tile::fragments_n; j += 2) {
      std::uint32_t right[4];
      if constexpr (TransposeB)
        load_right_transposed(right, b, warp_n + j * 8, k);
      else
        load_right(right, b, k, warp_n + j * 8);
      multiply_pair(sums, j, left, right);
    }
  }
}

/// Writes `values`, neighbours in a row, to c at (row, col): 16 bytes at once where that is allowed and inside.
template <int Pairs, class A, class B, class C>
__device__ void store_values(const float (&values)[Pairs][2], const MatMulArgs<A, B, C>& args, std::int64_t row,
                             std::int64_t col) {
  constexpr int width = 2 * Pairs;
  C* out = args.c.row(row) + col;
  if (args.vectors && col + width <= args.n) {
    const auto before = args.accumulate ? load<width>(out) : Vec<C, width>{};
    Vec<C, width> after;
    HONE_UNROLL
    for (int i = 0; i < width; ++i) {
      const float value = args.alpha * values[i / 2][i % 2];
      after[i] = from_float<C>(args.accumulate ? to_float(before[i]) + value : value);
    }
    store(out, after);
    return;
  }
  HONE_UNROLL
  for (int i = 0; i < width; ++i) {
    if (col + i >= args.n) continue;
    const float value = args.alpha * values[i / 2][i % 2];
    store(out + i, from_float<C>(args.accumulate ? to_float(load(out + i)) + value : value));
  }
}

/// Writes a warp's sums to c at (row, col). A lane has two neighbouring columns of every fragment: lanes exchange them,
/// until each has 16 bytes of one row and the four lanes of a row 64 bytes in a row.
template <class A, class B, class C>
__device__ void store_sums(const MatMulSums& sums, const MatMulArgs<A, B, C>& args, std::int64_t row,
                           std::int64_t col) {
  constexpr int width = vector_width<C>, lanes = width / 2;  // a lane ends with `width` columns, from `lanes` lanes
  static_assert(MatMulTile::fragments_n % lanes == 0);
  HONE_UNROLL
  for (int i = 0; i < MatMulTile::fragments_m; ++i) {
    HONE_UNROLL
    for (int half = 0; half < 2; ++half) {
      HONE_UNROLL
      for (int j = 0; j < MatMulTile::fragments_n; j += lanes) {
        float values[lanes][2];
        HONE_UNROLL
        for (int f = 0; f < lanes; ++f) {
          values[f][0] = sums[i][j + f][half * 2];
          values[f][1] = sums[i][j + f][half * 2 + 1];
        }
        warp_transpose(values);
        const std::int64_t r = row + i * 16 + lane_index() / 4 + half * 8;
        const std::int64_t c = col + (j + lane_index() % lanes) * 8 + lane_index() % 4 / lanes * width;
        if (r < args.m) store_values(values, args, r, c);
      }
    }
  }
}

template <class A, class B, class C, bool TransposeA, bool TransposeB>
__global__ void __launch_bounds__(MatMulTile::threads) matmul_kernel(MatMulArgs<A, B, C> args) {
  using Tile = MatMulTile;
  auto& shared = shared_memory<MatMulShared<TransposeA, TransposeB>>();
  const std::int64_t m = std::int64_t{blockIdx.y} * Tile::m, n = std::int64_t{blockIdx.x} * Tile::n;
  const int warp_m = warp_index() / Tile::warps_n * (Tile::m / Tile::warps_m);
  const int warp_n = warp_index() % Tile::warps_n * (Tile::n / Tile::warps_n);
  const auto fill = [&](int buffer, std::int64_t k) {
    fill_tile(shared.a[buffer], args.a, TransposeA ? k : m, TransposeA ? m : k);
    fill_tile(shared.b[buffer], args.b, TransposeB ? n : k, TransposeB ? k : n);
    async_commit();
  };
  MatMulSums sums = {};
  if (args.k > 0) fill(0, 0);
  int buffer = 0;
  for (std::int64_t k = 0; k < args.k; k += Tile::k, buffer ^= 1) {
    const bool more = k + Tile::k < args.k;
    if (more) fill(buffer ^ 1, k + Tile::k);
    if (more)
      async_wait<1>();
    else
      async_wait<0>();
    __syncthreads();  // everybody's copies have landed
    multiply_tiles<TransposeA, TransposeB>(sums, shared.a[buffer], shared.b[buffer], warp_m, warp_n);
    __syncthreads();  // the next turn fills this buffer
  }
  store_sums(sums, args, m + warp_m, n + warp_n);
}

// ---- launchers ----

namespace kernel_detail {

/// True when every row starts on a multiple of 16 bytes; its last vector may be cut off.
template <class T>
bool rows_align(const View<T, 2>& view) {
  return reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0 &&
         (view.rows() <= 1 || view.stride % vector_width<T> == 0);
}

template <class T>
Factor<T> factor_of(const View<const T, 2>& view) {
  return {view.data, view.rows(), view.extent(1), view.stride, rows_align(view)};
}

template <bool TransposeA, bool TransposeB, class A, class B, class C>
void matmul(KernelDevice& device, const MatMulArgs<A, B, C>& args) {
  const gpu::LaunchShape shape{
      {grid_extent(ceil_div(args.n, MatMulTile::n)), grid_extent(ceil_div(args.m, MatMulTile::m)), 1},
      {MatMulTile::threads, 1, 1},
      sizeof(MatMulShared<TransposeA, TransposeB>)};
  launch(device, "matmul", shape, &matmul_kernel<A, B, C, TransposeA, TransposeB>, args);
}

template <class A, class B, class C>
void matmul(KernelDevice& device, bool transpose_a, bool transpose_b, const MatMulArgs<A, B, C>& args) {
  if (transpose_a)
    transpose_b ? matmul<true, true>(device, args) : matmul<true, false>(device, args);
  else
    transpose_b ? matmul<false, true>(device, args) : matmul<false, false>(device, args);
}

template <class C>
void matmul(KernelDevice& device, bool transpose_a, bool transpose_b, const MatMulArgs<float, float, C>& args) {
  using Tile = MatMulFloatTile;
  const FloatFactor a{args.a.data, transpose_a ? 1 : args.a.stride, transpose_a ? args.a.stride : 1};
  const FloatFactor b{args.b.data, transpose_b ? args.b.stride : 1, transpose_b ? 1 : args.b.stride};
  const gpu::LaunchShape shape{
      {grid_extent(ceil_div(args.n, Tile::size)), grid_extent(ceil_div(args.m, Tile::size)), 1},
      {Tile::threads, 1, 1},
      sizeof(MatMulFloatShared)};
  launch(device, "matmul_float", shape, &matmul_float_kernel<C>,
         MatMulFloatArgs<C>{a, b, args.c, args.m, args.n, args.k, args.alpha, args.accumulate});
}

/// Whether an operand lies where an algorithm may be asked for by name.
inline bool takes_named_algorithm(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % gpu::named_algorithm_alignment == 0;
}

/// The product by the device's GEMM library, with the algorithm that the device's tuning names, if it has one; false
/// where there is no library or it has no algorithm for the product.
template <class A, class B, class C>
bool multiply_by_library(KernelDevice& device, const MatMulOptions& options, const View<const A, 2>& a,
                         const View<const B, 2>& b, const View<C, 2>& c, const View<std::byte, 1>& workspace) {
  const gpu::Driver& driver = driver_of(device);
  const gpu::GemmShape shape = gpu::gemm_shape(options, a, b, c, workspace.extent(0));
  if (driver.matmul == nullptr || !gpu::is_for_library(shape)) return false;
  gpu::MatMulCall call{.shape = shape,
                       .a = a.data,
                       .b = b.data,
                       .c = c.data,
                       .alpha = static_cast<float>(options.alpha),
                       .workspace = workspace.data};
  const gpu::GemmTuning* tuning = device.gemm_tuning().get();
  if (tuning != nullptr && takes_named_algorithm(a.data) && takes_named_algorithm(b.data) &&
      takes_named_algorithm(c.data))
    call.algorithm = tuning->algorithm_of(shape);
  const int status = driver.matmul(call, stream_of(device));
  if (status == gpu::not_supported) return false;
  gpu::succeed(driver, status, "matmul by the GEMM library");
  return true;
}

}  // namespace kernel_detail

/// c (m, n) = alpha op(a) op(b), added to c where options.accumulate; a is (m, k), or (k, m) transposed, b (k, n) or
/// (n, k). bf16 and float in any combination, any row stride. `workspace` is the GEMM library's, where there is one.
template <class A, class B, class C>
void run(Tag<kernel::MatMul>, KernelDevice& device, const MatMulOptions& options, View<const A, 2> a,
         View<const B, 2> b, View<C, 2> c, View<std::byte, 1> workspace) {
  const std::int64_t m = c.rows(), n = c.extent(1), k = a.extent(options.transpose_a ? 0 : 1);
  check(a.extent(options.transpose_a ? 1 : 0) == m && b.extent(options.transpose_b ? 0 : 1) == n &&
            b.extent(options.transpose_b ? 1 : 0) == k,
        "[matmul] op(a) op(b) does not give c ({}, {}): a is ({}, {}){}, b is ({}, {}){}", m, n, a.rows(), a.extent(1),
        options.transpose_a ? " transposed" : "", b.rows(), b.extent(1), options.transpose_b ? " transposed" : "");
  if (m == 0 || n == 0 || (k == 0 && options.accumulate)) return;
  if (kernel_detail::multiply_by_library(device, options, a, b, c, workspace)) return;
  const MatMulArgs<A, B, C> args{.a = kernel_detail::factor_of(a),
                                 .b = kernel_detail::factor_of(b),
                                 .c = rows_of(c),
                                 .m = m,
                                 .n = n,
                                 .k = k,
                                 .alpha = static_cast<float>(options.alpha),
                                 .accumulate = options.accumulate,
                                 .vectors = kernel_detail::rows_align(c)};
  kernel_detail::matmul(device, options.transpose_a, options.transpose_b, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
