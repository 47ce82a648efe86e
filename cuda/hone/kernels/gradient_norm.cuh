// The gradients' sums of squares, all parameters of one type in one launch, and what of a step follows from them.
#pragma once

#include <hone/kernels/optimizer_table.cuh>
#include <hone/kernels/sum.cuh>
#include <hone/tensor/optimizer_scalars.hpp>

#include <cstdint>
#include <span>

namespace hone {

namespace kernel {
struct SumOfSquares;
struct BeginStep;
}  // namespace kernel

inline namespace HONE_TARGET {

template <class G>
struct GradientRecord {
  const G* data;
  std::int64_t count;
  unsigned first_block;
};

inline constexpr int squares_threads = 512;

struct SquaresShared {
  double of_thread[squares_threads];
};

/// partials[b] = the sum of squares of block b: first by thread, then by halves, an order that the count decides.
template <class G>
__global__ void __launch_bounds__(squares_threads)
    sum_of_squares_kernel(TensorTable<double*, GradientRecord<G>> const __grid_constant__ table) {
  auto& shared = shared_memory<SquaresShared>();
  constexpr int V = vector_width<G>;
  const GradientRecord<G>& item = table.of_block(blockIdx.x);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x - item.first_block) * sum_of_squares_block;
  const std::int64_t end = begin + sum_of_squares_block < item.count ? begin + sum_of_squares_block : item.count;
  const int me = thread_index();
  double sum = 0;
  const auto add = [&](G element) {
    const double value = widened<double>(element);
    sum += value * value;
  };
  const bool aligned = aligned_for<V>(item.data);
  for (std::int64_t at = begin + std::int64_t{me} * V; at < end; at += squares_threads * V) {
    if (aligned && at + V <= end) {
      const auto values = load<V>(item.data + at);
      HONE_UNROLL
      for (int i = 0; i < V; ++i) add(values[i]);
    } else {
      for (std::int64_t i = at; i < end && i < at + V; ++i) add(load(item.data + i));
    }
  }
  shared.of_thread[me] = sum;
  __syncthreads();
  for (int half = squares_threads / 2; half > 0; half /= 2) {
    if (me < half) shared.of_thread[me] += shared.of_thread[me + half];
    __syncthreads();
  }
  if (me == 0) store(table.common + blockIdx.x, shared.of_thread[0]);
}

/// One block: the sum of the partial sums, and from it the step's numbers.
__device__ inline void begin_step_by_block(const StepRule& rule, const double* partials, std::int64_t count,
                                           StepNumbers* numbers) {
  const double sum = sum_by_block(shared_memory<SumShared>(), partials, count);
  if (thread_index() != 0) return;
  StepNumbers step;
  step.input = {load(&numbers->input.learning_rate), load(&numbers->input.tokens)};
  step.step = load(&numbers->step);
  begin_step(step, rule, sum);
  store(&numbers->step, step.step);
  store(&numbers->skipped, step.skipped);
  store(&numbers->grad_norm, step.grad_norm);
  store(&numbers->gradient_scale, step.gradient_scale);
  store(&numbers->step_size, step.step_size);
  store(&numbers->root, step.root);
}

/// `Sum` is double; a template, because nvcc wants no `inline __global__`.
template <class Sum>
__global__ void __launch_bounds__(sum_threads)
    begin_step_kernel(StepRule rule, const Sum* partials, std::int64_t count, StepNumbers* numbers) {
  begin_step_by_block(rule, partials, count, numbers);
}

/// partials = sums of squares of the gradients, one behind the other, each in blocks of sum_of_squares_block elements.
template <class T, class G>
void run(Tag<kernel::SumOfSquares>, KernelDevice& device, std::span<const OptimizedView<T, G>> parameters,
         View<double, 1> partials) {
  using Table = TensorTable<double*, GradientRecord<G>>;
  static_assert(sizeof(Table) <= most_argument_bytes);
  check(partials.packed() && partials.extent(0) == sum_of_squares_blocks(parameters),
        "[sum_of_squares] {} packed partial sums are wanted, got {}", sum_of_squares_blocks(parameters),
        partials.extent(0));
  Table table{.common = partials.data, .count = 0, .records = {}};
  const auto record_of = [](const OptimizedView<T, G>& one) {
    check(one.gradient.packed(), "[sum_of_squares] a gradient must be packed");
    return GradientRecord<G>{one.gradient.data, one.gradient.extent(0), 0};
  };
  kernel_detail::launch_tables(table, parameters, sum_of_squares_block, record_of, [&](std::int64_t blocks) {
    launch(device, "sum_of_squares", shape_for(blocks * squares_threads, squares_threads, sizeof(SquaresShared)),
           &sum_of_squares_kernel<G>, table);
    table.common += blocks;
  });
}

/// numbers[0] becomes those of the step that begins: `partials` are the gradients' sums of squares.
inline void run(Tag<kernel::BeginStep>, KernelDevice& device, const StepRule& rule, View<const double, 1> partials,
                View<StepNumbers, 1> numbers) {
  check(partials.packed(), "[begin_step] the partial sums must be packed");
  launch(device, "begin_step", shape_for(sum_threads, sum_threads, sizeof(SumShared)), &begin_step_kernel<double>, rule,
         partials.data, partials.extent(0), numbers.data);
}

}  // namespace HONE_TARGET
}  // namespace hone
