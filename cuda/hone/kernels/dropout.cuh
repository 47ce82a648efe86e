// Dropout. Whether element e is kept is a function of (seed, offset, e), so the backward pass is the same call.
//   y = x * keep / (1 - p),  keep_e = (Philox word of e) >= p * 2^32                       (Srivastava et al., 2014)
#pragma once

#include <hone/core/draw_seed.hpp>
#include <hone/device/launch.cuh>
#include <hone/prim/random.cuh>
#include <hone/prim/vector.cuh>

namespace hone {

namespace kernel {
struct Dropout;
}

inline namespace HONE_TARGET {

inline constexpr int dropout_threads = 256;

template <class T>
struct DropoutArgs {
  Rows<const T> x;
  Rows<T> y;
  std::int64_t rows, cols;
  DrawSeed seed;
  std::uint64_t offset;
  std::uint32_t threshold;
  float scale;
  bool accumulate;
};

/// One thread for V neighbouring columns. V divides the columns, so that the words of V elements begin where an access
/// does.
template <class T, int V>
__global__ void __launch_bounds__(dropout_threads) dropout_kernel(DropoutArgs<T> args) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (item >= args.rows * args.cols / V) return;
  const std::int64_t row = item * V / args.cols, col = item * V % args.cols;
  const std::uint64_t seed = args.seed.at != nullptr ? load(args.seed.at) : args.seed.value;
  const ElementWords<V> words(seed, args.offset, item * V);
  auto values = load<V>(args.x.row(row) + col);
  Vec<T, V> sums{};
  if (args.accumulate) sums = load<V>(args.y.row(row) + col);
  for (int i = 0; i < V; ++i) {
    const float value = words.words[i] >= args.threshold ? to_float(values[i]) * args.scale : 0.0f;
    values[i] = from_float<T>(args.accumulate ? to_float(sums[i]) + value : value);
  }
  store(args.y.row(row) + col, values);
}

/// y (N, C) (+)= x (N, C) * keep / (1 - p). `offset` is the Philox stream. Element e is row * columns + column.
template <class T>
void run(Tag<kernel::Dropout>, KernelDevice& device, In<T, 2> x, double p, DrawSeed seed, std::uint64_t offset,
         View<T, 2> y, bool accumulate) {
  check(p >= 0 && p <= 1, "[dropout] p is {}, wanted a probability", p);
  const std::int64_t rows = y.rows(), cols = y.extent(1);
  if (rows * cols == 0) return;
  const std::uint64_t threshold = words_of_probability(p);
  const bool all_dropped = threshold >> 32 != 0;
  const DropoutArgs<T> args{.x = rows_of(x),
                            .y = rows_of(y),
                            .rows = rows,
                            .cols = cols,
                            .seed = seed,
                            .offset = offset,
                            .threshold = static_cast<std::uint32_t>(threshold),
                            .scale = all_dropped ? 0.0f : static_cast<float>(1 / (1 - p)),
                            .accumulate = accumulate};
  const bool vectors = allows_vectors(x, y);
  constexpr auto wide = &dropout_kernel<T, vector_width<T>>;
  constexpr auto scalar = &dropout_kernel<T, 1>;
  launch(device, "dropout", shape_for(rows * cols / (vectors ? vector_width<T> : 1), dropout_threads),
         vectors ? wide : scalar, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
