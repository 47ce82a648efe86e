// c = alpha * op(a) * op(b) (+ c) on the processor: packed, blocked, threaded, any mix of float and bf16, or all
// double.
//
// The method is Goto's (K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008): C is cut
// into blocks, k into steps; the parts of op(a) and op(b) a block needs for one step are packed by all workers
// (cpu/gemm_pack.hpp), then all workers take groups of tiles of the block (cpu/gemm_tiles.hpp). A group's panels of A
// stay in the second cache level, a panel of B in the first.
//
// Where C is bf16 the sums of a block are gathered in float and rounded once. Where op(b) has few columns the product
// is taken as its transpose, so that the narrow side is the one whose tile size adapts. Where one side has at most
// eight rows and the other is k-contiguous, cpu/gemm_direct.hpp reads it in place.
//
// How work is cut depends on shape, types and instruction set only: equal bits for any number of threads.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/core/target.hpp>
#include <hone/core/thread_pool.hpp>
#include <hone/cpu/gemm_direct.hpp>
#include <hone/cpu/gemm_pack.hpp>
#include <hone/cpu/gemm_tiles.hpp>
#include <hone/tensor/device.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/matmul_options.hpp>
#include <hone/tensor/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace hone {
namespace detail {

/// How C and k are cut, and what the packed parts take: a function of shape and instruction set.
struct GemmBlocks {
  static constexpr std::int64_t most_rows = 1536, most_cols = 2048, k_bytes = 1024;

  std::int64_t rows = 0, cols = 0, k = 0;  // of one block, at most

  GemmBlocks(Isa isa, std::int64_t m, std::int64_t n, std::int64_t total_k, std::int64_t element_bytes) {
    const GemmTileShape tile = gemm_tile_shape(isa);
    rows = even(m, most_rows, tile.rows);
    cols = even(n, most_cols, tile.cols(4));
    k = even(total_k, k_bytes / element_bytes, 1);
  }

  // The smallest number of pieces of at most `most`, all about as large, each but the last a multiple of `unit`.
  static std::int64_t even(std::int64_t extent, std::int64_t most, std::int64_t unit) {
    const std::int64_t pieces = std::max<std::int64_t>(1, ceil_div(extent, most));
    return round_up(std::max<std::int64_t>(1, ceil_div(extent, pieces)), unit);
  }

  // Bytes of a packed vector of one block: enough for either element size.
  static std::int64_t packed_bytes(std::int64_t total_k) { return std::min(k_bytes, total_k * 8); }
  std::int64_t a_bytes(std::int64_t total_k) const { return round_up(rows * packed_bytes(total_k), 64); }
  std::int64_t b_bytes(std::int64_t total_k) const { return round_up(cols * packed_bytes(total_k), 64); }
  std::int64_t sums_bytes() const { return round_up(rows * cols * 4, 64); }
};

/// The narrow side of C goes down the rows of a tile when it is narrower than two tiles are wide.
constexpr bool gemm_narrow(std::int64_t m, std::int64_t n) { return n < m && n < 64; }

/// A product ready to run: both sides and C with their types put behind function pointers, so that one driver serves
/// all.
template <class S>
struct GemmProblem {
  std::int64_t m, n, k;
  GemmSide a, b;
  GemmPack<S> pack_a, pack_b;
  GemmTile<S> tile;
  GemmDots<S> dots;  // null where the direct way is not open
  GemmFinish<S> finish;
  GemmResult c;
  bool sums_in_c;  // C holds S, its rows contiguous: tiles add to it without a detour
};

template <class S>
class Gemm {
 public:
  Gemm(ThreadPool& pool, Isa isa, const GemmProblem<S>& problem, std::byte* workspace)
      : pool_(pool),
        x_(problem),
        shape_(gemm_tile_shape(isa)),
        cols_(shape_.cols(sizeof(S))),
        blocks_(isa, problem.m, problem.n, problem.k, sizeof(S)),
        workspace_(workspace) {}

  void run() {
    if (x_.dots != nullptr) return run_direct();
    packed_a_ = reinterpret_cast<S*>(workspace_);
    packed_b_ = reinterpret_cast<S*>(workspace_ + blocks_.a_bytes(x_.k));
    sums_ = reinterpret_cast<S*>(workspace_ + blocks_.a_bytes(x_.k) + blocks_.b_bytes(x_.k));
    for (std::int64_t j = 0; j < x_.n; j += blocks_.cols)
      for (std::int64_t i = 0; i < x_.m; i += blocks_.rows)
        for (std::int64_t p = 0; p < x_.k; p += blocks_.k) {
          const Block block{i, std::min(blocks_.rows, x_.m - i), j, std::min(blocks_.cols, x_.n - j),
                            p, std::min(blocks_.k, x_.k - p)};
          pack(block);
          multiply(block);
        }
  }

 private:
  struct Block {
    std::int64_t i, rows, j, cols, p, k;
  };

  // A short product is not worth waking the workers for.
  template <class F>
  void for_tasks(const Block& block, std::int64_t tasks, F&& body) {
    constexpr std::int64_t worth_it = 256 * 1024;  // multiply-adds
    if (block.rows * block.cols * block.k >= worth_it) return pool_.run(tasks, std::forward<F>(body));
    for (std::int64_t task = 0; task < tasks; ++task) body(task, 0);
  }

  void pack(const Block& block) {
    constexpr std::int64_t per_task = 16384;  // elements
    const std::int64_t a_panels = ceil_div(block.rows, shape_.rows), b_panels = ceil_div(block.cols, cols_);
    const std::int64_t a_group = std::max<std::int64_t>(1, per_task / (shape_.rows * block.k));
    const std::int64_t b_group = std::max<std::int64_t>(1, per_task / (cols_ * block.k));
    const std::int64_t a_tasks = ceil_div(a_panels, a_group), b_tasks = ceil_div(b_panels, b_group);
    for_tasks(block, a_tasks + b_tasks, [&](std::int64_t task, int) {
      if (task < a_tasks)
        pack_rows(block, task * a_group, std::min(a_panels, (task + 1) * a_group));
      else
        pack_cols(block, (task - a_tasks) * b_group, std::min(b_panels, (task - a_tasks + 1) * b_group));
    });
  }

  void pack_rows(const Block& block, std::int64_t first, std::int64_t last) const {
    for (std::int64_t panel = first; panel < last; ++panel) {
      const std::int64_t row = panel * shape_.rows, valid = std::min<std::int64_t>(shape_.rows, block.rows - row);
      x_.pack_a(x_.a, block.i + row, valid, round_up(valid, shape_.row_step), block.p, block.k,
                packed_a_ + row * block.k);
    }
  }

  void pack_cols(const Block& block, std::int64_t first, std::int64_t last) const {
    for (std::int64_t panel = first; panel < last; ++panel) {
      const std::int64_t col = panel * cols_, valid = std::min<std::int64_t>(cols_, block.cols - col);
      x_.pack_b(x_.b, block.j + col, valid, cols_, block.p, block.k, packed_b_ + col * block.k);
    }
  }

  // Tasks of about 144 rows x 256 columns, less where a block would not give the workers enough of them.
  void multiply(const Block& block) {
    constexpr std::int64_t least = 2 * 1024 * 1024, enough = 16;  // multiply-adds of a task; tasks
    std::int64_t rows = round_up(144, shape_.rows), cols = 256;
    const auto tasks = [&] { return ceil_div(block.rows, rows) * ceil_div(block.cols, cols); };
    while (tasks() < enough && rows * cols * block.k >= 2 * least && (cols > cols_ || rows > shape_.rows)) {
      if (cols > cols_ && (cols >= rows || rows <= shape_.rows))
        cols = round_up(cols / 2, cols_);
      else
        rows = round_up(rows / 2, shape_.rows);
    }
    const std::int64_t down = ceil_div(block.rows, rows);
    for_tasks(block, tasks(), [&](std::int64_t task, int) {
      const std::int64_t row = (task % down) * rows, col = (task / down) * cols;
      multiply_group(block, row, std::min(block.rows, row + rows), col, std::min(block.cols, col + cols));
    });
  }

  void multiply_group(const Block& block, std::int64_t row, std::int64_t row_end, std::int64_t col,
                      std::int64_t col_end) const {
    for (std::int64_t i = row; i < row_end; i += shape_.rows)
      for (std::int64_t j = col; j < col_end; j += cols_) {  // along the rows of C, whose lines come in order
        const std::int64_t valid_rows = std::min<std::int64_t>(shape_.rows, block.rows - i);
        const std::int64_t valid_cols = std::min<std::int64_t>(cols_, block.cols - j);
        if (x_.sums_in_c)
          tile_to_c(block, i, valid_rows, j, valid_cols);
        else
          tile_to_sums(block, i, valid_rows, j);
      }
    if (x_.sums_in_c || block.p + block.k < x_.k) return;
    const std::int64_t stride = round_up(block.cols, cols_);
    x_.finish(sums_ + row * stride + col, stride, block.i + row, row_end - row, block.j + col, col_end - col, x_.c);
  }

  void tile_to_sums(const Block& block, std::int64_t i, std::int64_t valid_rows, std::int64_t j) const {
    const std::int64_t stride = round_up(block.cols, cols_);
    x_.tile(static_cast<int>(round_up(valid_rows, shape_.row_step)), block.k, packed_a_ + i * block.k,
            packed_b_ + j * block.k, sums_ + i * stride + j, stride, S{1}, block.p > 0);
  }

  void tile_to_c(const Block& block, std::int64_t i, std::int64_t valid_rows, std::int64_t j,
                 std::int64_t valid_cols) const {
    const S *a = packed_a_ + i * block.k, *b = packed_b_ + j * block.k;
    S* c = static_cast<S*>(x_.c.data) + (block.i + i) * x_.c.row_step + block.j + j;
    const bool add = x_.c.accumulate || block.p > 0;
    const auto alpha = static_cast<S>(x_.c.alpha);
    const std::int64_t rows = round_up(valid_rows, shape_.row_step);
    if (rows == valid_rows && valid_cols == cols_)
      return x_.tile(static_cast<int>(rows), block.k, a, b, c, x_.c.row_step, alpha, add);
    constexpr std::int64_t largest_tile = 12 * 2 * 64 / sizeof(S);
    alignas(64) S edge[largest_tile];
    x_.tile(static_cast<int>(rows), block.k, a, b, edge, cols_, alpha, false);
    for (std::int64_t r = 0; r < valid_rows; ++r)
      for (std::int64_t q = 0; q < valid_cols; ++q) {
        S& at = c[r * x_.c.row_step + q];
        at = add ? at + edge[r * cols_ + q] : edge[r * cols_ + q];
      }
  }

  void run_direct() {
    S* rows = reinterpret_cast<S*>(workspace_);
    // Row i of the small side as one contiguous vector: the panel of "k columns" with m steps.
    x_.pack_a({x_.a.data, x_.a.stride, !x_.a.k_contiguous}, 0, x_.k, x_.k, 0, x_.m, rows);
    std::fill(rows + x_.m * x_.k, rows + round_up(x_.m, gemm_direct_rows) * x_.k, S{0});
    const std::int64_t grain = std::max<std::int64_t>(8, 131072 / x_.k);
    const Block whole{0, x_.m, 0, x_.n, 0, x_.k};
    for_tasks(whole, ceil_div(x_.n, grain), [&](std::int64_t task, int) {
      x_.dots(rows, x_.m, x_.k, x_.b.data, x_.b.stride, task * grain, std::min(x_.n, (task + 1) * grain), x_.c);
    });
  }

  ThreadPool& pool_;
  const GemmProblem<S>& x_;
  const GemmTileShape shape_;
  const std::int64_t cols_;  // of a tile
  const GemmBlocks blocks_;
  std::byte* workspace_;
  S *packed_a_ = nullptr, *packed_b_ = nullptr, *sums_ = nullptr;
};

/// k == 0: an empty sum.
template <class C>
void gemm_empty(const View<C, 2>& c, bool accumulate) {
  if (accumulate) return;
  for (std::int64_t i = 0; i < c.extent(0); ++i) std::fill_n(c.row(i), c.extent(1), C(0.0f));
}

/// The product as it will run: as asked for, or as its transpose when `turned`.
template <class S, class A, class B, class C>
GemmProblem<S> gemm_problem(Isa isa, const MatMulOptions& options, View<const A, 2> a, View<const B, 2> b, View<C, 2> c,
                            std::int64_t k, bool turned) {
  constexpr std::int64_t shortest_direct = 64;
  GemmProblem<S> x{.m = c.extent(0),
                   .n = c.extent(1),
                   .k = k,
                   .a = {a.data, a.stride, !options.transpose_a},
                   .b = {b.data, b.stride, options.transpose_b},
                   .pack_a = gemm_pack<S, A>(isa),
                   .pack_b = gemm_pack<S, B>(isa),
                   .tile = gemm_tile<S>(isa),
                   .dots = gemm_dots<S, B, C>(isa),
                   .finish = gemm_finish<S, C>(isa),
                   .c = {c.data, c.stride, 1, options.alpha, options.accumulate},
                   .sums_in_c = std::is_same_v<S, C>};
  if (turned) {
    std::swap(x.m, x.n);
    std::swap(x.a, x.b);
    std::swap(x.pack_a, x.pack_b);
    std::swap(x.c.row_step, x.c.col_step);
    x.dots = gemm_dots<S, A, C>(isa);
    x.sums_in_c = false;
  }
  const bool direct = x.m <= gemm_direct_largest && x.b.k_contiguous && k >= shortest_direct;
  if (!direct) x.dots = nullptr;
  return x;
}

inline std::int64_t gemm_bytes(Isa isa, std::int64_t m, std::int64_t n, std::int64_t k) {
  const GemmBlocks blocks(isa, m, n, k, 4);
  const std::int64_t direct = m <= gemm_direct_largest ? round_up(m, gemm_direct_rows) * k * 8 : 0;
  return std::max(blocks.a_bytes(k) + blocks.b_bytes(k) + blocks.sums_bytes(), round_up(direct, 64));
}

}  // namespace detail

/// Bytes of scratch a product of (m, k) by (k, n) takes on the processor, for any element types and transpositions.
inline std::int64_t matmul_workspace_bytes(const Target& target, std::int64_t m, std::int64_t n, std::int64_t k) {
  if (m <= 0 || n <= 0 || k <= 0) return 0;
  const std::int64_t as_asked = detail::gemm_bytes(target.isa, m, n, k);
  return detail::gemm_narrow(m, n) ? std::max(as_asked, detail::gemm_bytes(target.isa, n, m, k)) : as_asked;
}

namespace cpu {

/// c = alpha * op(a) * op(b), plus the old c if options.accumulate. a, b and c hold float or bf16 in any mix, or all
/// double; c overlaps neither. `workspace`: matmul_workspace_bytes, 64-byte aligned. Throws Error where shapes
/// disagree.
template <class A, class B, class C>
void gemm(ThreadPool& pool, Isa isa, const MatMulOptions& options, View<const A, 2> a, View<const B, 2> b, View<C, 2> c,
          View<std::byte, 1> workspace) {
  constexpr bool all_double = std::is_same_v<A, double> && std::is_same_v<B, double> && std::is_same_v<C, double>;
  constexpr bool narrow = sizeof(A) <= 4 && sizeof(B) <= 4 && sizeof(C) <= 4;
  static_assert(all_double || narrow, "matmul takes float and bf16 in any mix, or double throughout");
  using S = Accumulator<C>;
  const std::int64_t m = c.extent(0), n = c.extent(1), k = a.extent(options.transpose_a ? 0 : 1);
  check(a.extent(options.transpose_a ? 1 : 0) == m && b.extent(options.transpose_b ? 1 : 0) == k &&
            b.extent(options.transpose_b ? 0 : 1) == n,
        "[matmul] a ({}, {}){} times b ({}, {}){} does not give c ({}, {})", a.extent(0), a.extent(1),
        options.transpose_a ? " transposed" : "", b.extent(0), b.extent(1), options.transpose_b ? " transposed" : "", m,
        n);
  if (m == 0 || n == 0) return;
  if (k == 0) return detail::gemm_empty(c, options.accumulate);
  const std::int64_t bytes = matmul_workspace_bytes(Target{.isa = isa}, m, n, k);
  check(workspace.extent(0) >= bytes, "[matmul] workspace has {} bytes, wanted {}", workspace.extent(0), bytes);
  check(reinterpret_cast<std::uintptr_t>(workspace.data) % 64 == 0, "[matmul] workspace is not aligned to 64 bytes");

  const bool turned = detail::gemm_narrow(m, n);
  auto problem = detail::gemm_problem<S>(isa, options, a, b, c, k, turned);
  // The transposed product of doubles would need sums of eight bytes; it is taken as it stands unless dots do it.
  if (all_double && turned && problem.dots == nullptr)
    problem = detail::gemm_problem<S>(isa, options, a, b, c, k, false);
  detail::Gemm<S>(pool, isa, problem, workspace.data).run();
}

}  // namespace cpu

template <class A, class B, class C>
void run(Tag<kernel::MatMul>, const Cpu& device, const MatMulOptions& options, View<const A, 2> a, View<const B, 2> b,
         View<C, 2> c, View<std::byte, 1> workspace) {
  cpu::gemm(device.pool(), device.target().isa, options, a, b, c, workspace);
}

}  // namespace hone
