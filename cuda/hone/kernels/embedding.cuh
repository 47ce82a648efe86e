// Embedding: rows of a table by id.
//   y[n] = table[ids[n]],  dtable[v] = sum over n with ids[n] == v of dy[n]
#pragma once

#include <hone/kernels/fill_copy.cuh>
#include <hone/prim/block.cuh>

namespace hone {

namespace kernel {
struct EmbeddingForward;
struct EmbeddingBackward;
}  // namespace kernel

inline namespace HONE_TARGET {

// ---- kernels ----

inline constexpr int embedding_threads = 256;

template <class T, int V>
__global__ void __launch_bounds__(embedding_threads)
    embedding_forward_kernel(const std::int32_t* ids, Rows<const T> table, std::int64_t vocabulary, Rows<T> y,
                             std::int64_t rows, std::int64_t vectors) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= rows * vectors) return;
  const std::int64_t row = item / vectors, col = item % vectors * V;
  const std::int32_t id = load(ids + row);
  device_check(id >= 0 && id < vocabulary);
  store(y.row(row) + col, load<V>(table.row(id) + col));
}

template <class T, class G>
struct EmbeddingBackwardArgs {
  const std::int32_t* ids;  // (N)
  Rows<const T> dy;         // (N, C)
  Rows<G> dtable;           // (V, C)
  std::int64_t rows, cols, vocabulary;
  bool accumulate;
};

struct EmbeddingShared {
  std::uint32_t votes[embedding_threads / warp_lanes];
};

/// Which of the block's threads vote yes, one bit each. All threads call; what is returned is valid until the next
/// call.
__device__ inline const std::uint32_t* block_votes(bool vote, EmbeddingShared& shared, Where where = Where::here()) {
  barrier(where);  // the votes of the last call have been read
  const std::uint32_t votes = warp_ballot(vote, where);
  if (lane_index() == 0) shared.votes[warp_index()] = votes;
  barrier(where);
  return shared.votes;
}

/// One block for each token and 256 V columns. The block of an id's first token adds up all tokens of that id, in their
/// order, and alone writes its row: no atomics, no scratch. The scan for them is N reads a block, which the cache
/// serves.
template <class T, class G, int V>
__global__ void __launch_bounds__(embedding_threads) embedding_backward_kernel(EmbeddingBackwardArgs<T, G> args) {
  auto& shared = shared_memory<EmbeddingShared>();
  const std::int64_t token = blockIdx.x;
  const std::int64_t col = (std::int64_t{blockIdx.y} * embedding_threads + threadIdx.x) * V;
  const std::int32_t id = load(args.ids + token);
  device_check(id >= 0 && id < args.vocabulary);
  float sums[V] = {};
  for (std::int64_t begin = 0; begin < args.rows; begin += embedding_threads) {
    const std::int64_t other = begin + threadIdx.x;
    const auto* votes = block_votes(other < args.rows && load(args.ids + other) == id, shared);
    for (int warp = 0; warp < embedding_threads / warp_lanes; ++warp) {
      for (std::uint32_t left = votes[warp]; left != 0; left &= left - 1) {
        const int bit = lowest_bit(left);
        const std::int64_t match = begin + warp * warp_lanes + bit;
        if (match < token) return;  // not the first; the whole block sees the same
        if (col >= args.cols) continue;
        const auto dy = load<V>(args.dy.row(match) + col);
        for (int i = 0; i < V; ++i) sums[i] += to_float(dy[i]);
      }
    }
  }
  if (col >= args.cols) return;
  G* out = args.dtable.row(id) + col;
  const auto before = args.accumulate ? load<V>(out) : Vec<G, V>{};
  Vec<G, V> after;
  for (int i = 0; i < V; ++i) after[i] = from_float<G>(args.accumulate ? to_float(before[i]) + sums[i] : sums[i]);
  store(out, after);
}

// ---- launchers ----

/// y (N, C) from ids (N) and table (V, C). An id outside the table stops the kernel.
template <class T>
void run(Tag<kernel::EmbeddingForward>, KernelDevice& device, In<std::int32_t, 1> ids, In<T, 2> table, View<T, 2> y) {
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  check(ids.packed(), "[embedding] ids must be packed");
  if (rows * cols == 0) return;
  const bool vectors = allows_vectors(table, y);
  const std::int64_t per_row = cols / (vectors ? vector_width<T> : 1);
  constexpr auto wide = &embedding_forward_kernel<T, vector_width<T>>;
  constexpr auto scalar = &embedding_forward_kernel<T, 1>;
  launch(device, "embedding_forward", shape_for(rows * per_row, embedding_threads), vectors ? wide : scalar, ids.data,
         rows_of(table), table.rows(), rows_of(y), rows, per_row);
}

/// dtable (V, C) = or += the rows of dy (N, C) by id, each row's tokens in their order.
template <class T, class G>
void run(Tag<kernel::EmbeddingBackward>, KernelDevice& device, In<std::int32_t, 1> ids, View<const T, 2> dy,
         View<G, 2> dtable, bool accumulate) {
  check(ids.packed(), "[embedding] ids must be packed");
  if (!accumulate) run(Tag<kernel::Fill>{}, device, dtable, G(0.0f));
  const std::int64_t rows = dy.rows(), cols = dy.extent(1);
  if (rows * cols == 0) return;
  const EmbeddingBackwardArgs<T, G> args{ids.data, rows_of(dy), rows_of(dtable), rows, cols, dtable.rows(), accumulate};
  constexpr int width = copy_width<T, G>;
  const bool vectors = cols % width == 0 && vectors_of<width>(dy) && vectors_of<width>(dtable);
  const std::int64_t columns_of_block = std::int64_t{embedding_threads} * (vectors ? width : 1);
  const gpu::LaunchShape shape{{grid_extent(rows), grid_extent(ceil_div(cols, columns_of_block)), 1},
                               {embedding_threads, 1, 1},
                               sizeof(EmbeddingShared)};
  constexpr auto wide = &embedding_backward_kernel<T, G, width>;
  constexpr auto scalar = &embedding_backward_kernel<T, G, 1>;
  launch(device, "embedding_backward", shape, vectors ? wide : scalar, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
