// MatMul of float factors in fp32, without tensor cores: what the fp32 policy and the tests of everything else rest on.
// A block of 16 x 16 threads makes 64 x 64 of c; a thread 4 x 4 of it in registers, 16 rows and 16 columns apart, so
// that each value read from shared memory is used four times and neighbours read and write neighbouring columns.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>

namespace hone {
inline namespace HONE_TARGET {

struct MatMulFloatTile {
  static constexpr int size = 64, k = 16, side = 16, per_thread = size / side;
  static constexpr int stride = size + 2;  // a warp that stores 16 of k for two lines then meets every bank once
  static constexpr int threads = side * side;
};

/// op(factor) as lines of k: line i (a row of c for a, a column for b) has its element k at i * line_step + k * k_step.
struct FloatFactor {
  const float* data;
  std::int64_t line_step, k_step;
};

template <class C>
struct MatMulFloatArgs {
  FloatFactor a, b;
  Rows<C> c;
  std::int64_t m, n, k;
  float alpha;
  bool accumulate;
};

using FloatTile = float[MatMulFloatTile::k][MatMulFloatTile::stride];

struct MatMulFloatShared {
  FloatTile a, b;
};

/// Fills a tile with lines [first, first + 64) at k; neighbours in memory are read by neighbouring threads.
__device__ inline void fill_float_tile(FloatTile& tile, const FloatFactor& factor, std::int64_t first,
                                       std::int64_t lines, std::int64_t k, std::int64_t k_end) {
  using Tile = MatMulFloatTile;
  for (int item = thread_index(); item < Tile::k * Tile::size; item += Tile::threads) {
    const bool k_is_dense = factor.k_step == 1;
    const int line = k_is_dense ? item / Tile::k : item % Tile::size,
              at = k_is_dense ? item % Tile::k : item / Tile::size;
    const bool inside = first + line < lines && k + at < k_end;
    store(&tile[at][line],
          inside ? load(factor.data + (first + line) * factor.line_step + (k + at) * factor.k_step) : 0.0f);
  }
}

template <class C>
__global__ void __launch_bounds__(MatMulFloatTile::threads) matmul_float_kernel(MatMulFloatArgs<C> args) {
  using Tile = MatMulFloatTile;
  constexpr int own = Tile::per_thread;
  auto& shared = shared_memory<MatMulFloatShared>();
  const std::int64_t m = std::int64_t{blockIdx.y} * Tile::size, n = std::int64_t{blockIdx.x} * Tile::size;
  const int row = thread_index() / Tile::side, col = thread_index() % Tile::side;
  float sums[own][own] = {};
  for (std::int64_t k = 0; k < args.k; k += Tile::k) {
    fill_float_tile(shared.a, args.a, m, args.m, k, args.k);
    fill_float_tile(shared.b, args.b, n, args.n, k, args.k);
    __syncthreads();
    for (int at = 0; at < Tile::k; ++at) {
      HONE_UNROLL
      for (int i = 0; i < own; ++i) {
        HONE_UNROLL
        for (int j = 0; j < own; ++j)
          sums[i][j] += shared.a[at][row + i * Tile::side] * shared.b[at][col + j * Tile::side];
      }
    }
    __syncthreads();  // the next turn overwrites the tiles
  }
  HONE_UNROLL
  for (int i = 0; i < own; ++i) {
    HONE_UNROLL
    for (int j = 0; j < own; ++j) {
      const std::int64_t r = m + row + i * Tile::side, c = n + col + j * Tile::side;
      if (r >= args.m || c >= args.n) continue;
      C* out = args.c.row(r) + c;
      const float value = args.alpha * sums[i][j];
      store(out, from_float<C>(args.accumulate ? to_float(load(out)) + value : value));
    }
  }
}

}  // namespace HONE_TARGET
}  // namespace hone
