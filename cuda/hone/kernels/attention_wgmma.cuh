// What attention's kernels for sm_90a share: tiles as TMA lays them, products of a warpgroup with them, and a ring of
// tiles between the warp that fetches and those that multiply.
#pragma once

#include <hone/kernels/attention_band.cuh>
#include <hone/prim/fast_math.cuh>
#include <hone/prim/mbarrier.cuh>
#include <hone/prim/named_barrier.cuh>
#include <hone/prim/registers.cuh>
#include <hone/prim/tma.cuh>
#include <hone/prim/wgmma.cuh>

#include <cstdint>

namespace hone {
inline namespace HONE_TARGET {

/// A tile in shared memory: its columns in spans of 128 bytes, or of 64 where they are no multiple of that, one span's
/// rows after the other's, swizzled so that eight rows lie on different banks.
template <int RowCount, int ColCount>
struct alignas(1024) SpanTile {
  static constexpr int rows = RowCount, cols = ColCount, bytes = rows * cols * 2;
  static constexpr Swizzle swizzle = cols % 64 == 0 ? Swizzle::b128 : Swizzle::b64;
  static constexpr int span = cols % 64 == 0 ? 64 : 32, span_bytes = span * 2;
  static_assert(rows % 8 == 0 && cols % span == 0);
  bf16 elements[rows * cols];

  __device__ bf16* at_span(int index) { return elements + index * rows * span; }
  /// Up to eight elements of a row from here lie next to each other, as far as the next multiple of eight columns.
  __device__ bf16* at(int row, int col) {
    const auto offset = static_cast<std::uint32_t>(row * span_bytes + col % span * 2);
    auto* first = reinterpret_cast<unsigned char*>(at_span(col / span));
    return reinterpret_cast<bf16*>(first + swizzled(offset, swizzle));
  }
};

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// What all lanes of the warp have in common, so that the compiler knows it: wgmma must not look as if only some
/// threads came to it.
__device__ inline int uniform(int value, Where where = Where::here()) { return warp_shuffle(value, 0, where); }

/// Starts loading `tile` from (row, col) on; one thread calls, and Tile::bytes arrive at `full`.
template <class Tile>
__device__ void load_tile(Tile& tile, const TensorMap& map, std::uint64_t* full, int row, int col,
                          Where where = Where::here()) {
  HONE_UNROLL
  for (int s = 0; s < Tile::cols / Tile::span; ++s)
    hone::tma_load(tile.at_span(s), map, full, col + s * Tile::span, row, where);
}

/// Writes `tile` to (row, col) on; one thread calls, after a fence and a barrier of those who wrote it.
template <class Tile>
__device__ void store_tile(Tile& tile, const TensorMap& map, int row, int col, Where where = Where::here()) {
  HONE_UNROLL
  for (int s = 0; s < Tile::cols / Tile::span; ++s)
    hone::tma_store(map, col + s * Tile::span, row, tile.at_span(s), where);
  hone::tma_store_commit(where);
  hone::tma_store_wait<0>(where);
}

/// A factor whose rows, or whose columns, are rows of `tile`: 16 of what is summed over, from column `col`.
template <class Tile>
__device__ std::uint64_t factor_of_rows(Tile& tile, int col, Where where = Where::here()) {
  return hone::wgmma_descriptor(tile.at_span(col / Tile::span) + col % Tile::span, 0, 8 * Tile::span_bytes,
                                Tile::swizzle, where);
}

/// A right factor as it lies: summed over 16 rows of `tile` from `row`.
template <class Tile>
__device__ std::uint64_t factor_as_it_lies(Tile& tile, int row, Where where = Where::here()) {
  return hone::wgmma_descriptor(tile.elements + row * Tile::span, Tile::rows * Tile::span_bytes, 8 * Tile::span_bytes,
                                Tile::swizzle, where);
}

/// Sums in the layout that the functions of mma.sync's tiles take are the accumulators of a wgmma.
template <int N>
__device__ float (&accumulators(float (&sums)[1][N][4]))[4 * N] {
  return reinterpret_cast<float(&)[4 * N]>(sums);
}

/// Issues sums (64, 8 N) = a b^T; `a` has 64 rows, b has 8 N.
template <int N, class TileA, class TileB>
__device__ void issue_product_transposed(float (&sums)[1][N][4], TileA& a, TileB& b, Where where = Where::here()) {
  static_assert(TileA::rows == 64 && TileB::rows == 8 * N && TileA::cols == TileB::cols);
  HONE_UNROLL
  for (int k = 0; k < TileA::cols; k += 16)
    hone::wgmma<8 * N>(accumulators(sums), factor_of_rows(a, k, where), factor_of_rows(b, k, where), k > 0, where);
}

/// Issues sums (64, 8 N) += a b, where `a` (64, 8 K) are rounded sums; b has 8 K rows.
template <int N, int K, class Tile>
__device__ void issue_product(float (&sums)[1][N][4], const std::uint32_t (&a)[1][K][2], Tile& b,
                              Where where = Where::here()) {
  static_assert(Tile::rows == 8 * K && Tile::cols == 8 * N && K % 2 == 0);
  HONE_UNROLL
  for (int k = 0; k < K; k += 2) {
    const std::uint32_t left[4] = {a[0][k][0], a[0][k][1], a[0][k + 1][0], a[0][k + 1][1]};
    hone::wgmma<8 * N, true>(accumulators(sums), left, factor_as_it_lies(b, k * 8, where), true, where);
  }
}

#endif

/// Places for what is on its way from one warp, which fetches, to `Readers` warps. Number n takes place n % Places.
template <int Places, int Readers>
struct Ring {
  std::uint64_t full[Places], empty[Places];

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  /// By one thread; then mbarrier_init_fence() and a barrier.
  __device__ void init(Where where = Where::here()) {
    for (int place = 0; place < Places; ++place) {
      hone::mbarrier_init(&full[place], 1, where);
      hone::mbarrier_init(&empty[place], Readers, where);
    }
  }
  /// Who fetches waits until number n - Places was read by all.
  __device__ void wait_empty(int n, Where where = Where::here()) {
    if (n >= Places) hone::mbarrier_wait(&empty[n % Places], static_cast<unsigned>(n / Places - 1) % 2, where);
  }
  /// Every reading thread waits for number n.
  __device__ void wait(int n, Where where = Where::here()) {
    hone::mbarrier_wait(&full[n % Places], static_cast<unsigned>(n / Places) % 2, where);
  }
  /// Every reading warp gives number n back. It must have waited for it, even if it has no use for it: else its arrival
  /// would count for the one before.
  __device__ void release(int n, Where where = Where::here()) {
    if (lane_index() == 0) hone::mbarrier_arrive(&empty[n % Places], where);
  }
#endif
};

/// A ring of tiles that TMA fills.
template <class Tile, int Places, int Readers>
struct TileRing : Ring<Places, Readers> {
  Tile tiles[Places];

  __device__ Tile& tile(int n) { return tiles[n % Places]; }

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  /// One thread starts loading number n from (row, col) on, once its place is empty.
  __device__ void fill(int n, const TensorMap& map, int row, int col, Where where = Where::here()) {
    this->wait_empty(n, where);
    hone::mbarrier_arrive_expect(&this->full[n % Places], Tile::bytes, where);
    load_tile(tile(n), map, &this->full[n % Places], row, col, where);
  }
#endif
};

// ---- launchers ----

namespace kernel_detail {

/// A matrix of `cols` columns cut into such tiles, one box a span.
template <class Tile, class T>
TensorMap span_map(const KernelDevice& device, const Rows<T>& matrix, std::int64_t rows, std::int64_t cols) {
  TileGeometry tiles;
  tiles.extents = {cols, rows, 1, 1, 1};
  tiles.strides = {1, matrix.stride, 0, 0, 0};
  tiles.box = {Tile::span, Tile::rows, 1, 1, 1};
  tiles.swizzle = Tile::swizzle;
  return tensor_map(device, matrix.data, tiles);
}

/// True where `kernel`, which uses wgmma, runs on this device: it must have been compiled for sm_90a itself.
template <class... P>
bool runs_wgmma(const KernelDevice& device, void (*kernel)(P...), int threads) {
  constexpr int with_wgmma = 90;  // later cards dropped it
  if (device.target().sm != with_wgmma) return false;
  int most = 0;
  gpu::succeed(driver_of(device), driver_of(device).most_threads(&most, reinterpret_cast<const void*>(kernel)),
               "most_threads");
  return most >= threads;
}

/// True where an attention kernel of `threads`, which uses wgmma, should be taken. With fewer queries than one
/// warpgroup multiplies the others would only wait.
template <class... P>
bool attention_takes_wgmma(const KernelDevice& device, const AttentionProblem& problem, void (*kernel)(P...),
                           int threads) {
  return problem.queries > 64 && runs_wgmma(device, kernel, threads);
}

}  // namespace kernel_detail

}  // namespace HONE_TARGET
}  // namespace hone
