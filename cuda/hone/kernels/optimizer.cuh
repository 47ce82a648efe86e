// Optimizer steps and the gradient's norm, all parameters of one type in one launch.
//   AdamW (Loshchilov and Hutter, 2019), in torch.optim.AdamW's order:
//     w <- w (1 - lr wd);  m <- m + (1 - b1)(g - m);  v <- b2 v + (1 - b2) g^2
//     w <- w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//   SGD, as torch.optim.SGD without dampening:
//     g <- g + wd w;  b <- mu b + g;  w <- w - lr (nesterov ? g + mu b : b)
#pragma once

#include <hone/device/launch.cuh>
#include <hone/kernels/sum.cuh>
#include <hone/prim/random.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>
#include <hone/tensor/optimizer_scalars.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <type_traits>

namespace hone {

namespace kernel {
struct SumOfSquares;
struct BeginStep;
struct AdamWStep;
struct SgdStep;
}  // namespace kernel

inline namespace HONE_TARGET {

// ---- many tensors in one launch ----

/// Bytes of arguments a launch takes, since CUDA 12.1.
inline constexpr std::size_t most_argument_bytes = 32764;

/// A launch's tensors travel as its argument: nothing to upload, nothing to allocate. Blocks are dealt out tensor by
/// tensor; record i has those from first_block on.
template <class Common, class Record>
struct TensorTable {
  static constexpr int capacity = static_cast<int>((most_argument_bytes - sizeof(Common) - 16) / sizeof(Record));

  Common common;
  int count;
  Record records[capacity];

  /// The record that has block `block`.
  __device__ const Record& of_block(unsigned block) const {
    int first = 0;
    for (int left = count; left > 1;) {
      const int step = left / 2;
      if (records[first + step].first_block <= block) first += step;
      left -= step;
    }
    return records[first];
  }
};

/// True when an access of N elements at `pointer` is aligned, at null too.
template <int N, class T>
__device__ bool aligned_for(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % (N * sizeof(T)) == 0;
}

// ---- steps ----

__device__ inline float square_root(float x) { return sqrtf(x); }
__device__ inline double square_root(double x) { return ::sqrt(x); }

/// The fields of a step that updates read; every thread of a launch reads the same.
__device__ inline StepNumbers numbers_of_step(const StepNumbers* numbers) {
  StepNumbers out;
  out.input.learning_rate = load(&numbers->input.learning_rate);
  out.step = load(&numbers->step);
  out.gradient_scale = load(&numbers->gradient_scale);
  out.step_size = load(&numbers->step_size);
  out.root = load(&numbers->root);
  return out;
}

/// How a rule changes one element; it is made of what the host knows once (Scalars) and of the step's numbers.
template <class Type>
struct AdamWUpdate {
  using S = Type;
  using Scalars = AdamWScalars;
  AdamWConstants<S> c;

  __device__ S operator()(S weight, S gradient, S& m, S& v, S decay) const {
    const S g = gradient * c.gradient_scale;
    m = m + c.rest1 * (g - m);
    v = v * c.beta2 + c.rest2 * g * g;
    return weight * decay - c.step_size * (m / (square_root(v) * c.root + c.epsilon));
  }
};

template <class Type>
struct SgdUpdate {
  using S = Type;
  using Scalars = SgdScalars;
  SgdConstants<S> c;

  __device__ S operator()(S weight, S gradient, S& buffer, S&, S decay) const {
    S direction = gradient * c.gradient_scale + decay * weight;
    if (c.momentum != S{0}) {
      buffer = c.momentum * buffer + direction;
      direction = c.nesterov ? direction + c.momentum * buffer : buffer;
    }
    return weight - c.rate * direction;
  }
};

template <class Scalars>
struct StepCommon {
  Scalars scalars;
  const StepNumbers* numbers;
};

template <class T, class G>
struct StepRecord {
  using S = Accumulator<T>;
  T* weight;
  float* master;  // null: none
  const G* gradient;
  S* states[2];  // null: none
  std::int64_t count;
  std::uint64_t offset;
  double weight_decay;
  unsigned first_block;
};

/// A step of one parameter, as a thread holds it.
template <class Update>
struct ParameterStep {
  Update update;
  typename Update::S decay;
  bool stochastic;
  std::uint64_t seed;
};

inline constexpr int optimizer_threads = 256;
inline constexpr std::int64_t optimizer_block = 8192;  // elements a block takes

/// Elements at .. at + N - 1 of one parameter.
template <int N, class T, class G, class Update>
__device__ void step_elements(const ParameterStep<Update>& step, const StepRecord<T, G>& item, std::int64_t at) {
  using S = Accumulator<T>;
  const auto gradient = load<N>(item.gradient + at);
  Vec<T, N> narrow{};
  Vec<float, N> master{};
  Vec<S, N> first{}, second{};
  if (item.master != nullptr)
    master = load<N>(item.master + at);
  else
    narrow = load<N>(item.weight + at);
  if (item.states[0] != nullptr) first = load<N>(item.states[0] + at);
  if (item.states[1] != nullptr) second = load<N>(item.states[1] + at);
  S values[N];
  HONE_UNROLL
  for (int i = 0; i < N; ++i) {
    const S weight = item.master != nullptr ? static_cast<S>(master[i]) : widened<S>(narrow[i]);
    values[i] = step.update(weight, widened<S>(gradient[i]), first[i], second[i], step.decay);
    master[i] = static_cast<float>(values[i]);
    narrow[i] = rounded_to<T>(values[i]);
  }
  if constexpr (std::is_same_v<T, bf16>) {
    if (step.stochastic && item.master == nullptr) {
      const ElementWords<N> words(step.seed, item.offset, at);
      HONE_UNROLL
      for (int i = 0; i < N; ++i) narrow[i] = round_by_chance(values[i], words.words[i]);
    }
  }
  if (item.states[0] != nullptr) store(item.states[0] + at, first);
  if (item.states[1] != nullptr) store(item.states[1] + at, second);
  if (item.master != nullptr) store(item.master + at, master);
  store(item.weight + at, narrow);
}

/// Moments move 16 bytes at a time.
template <class T, class G, class Update>
__global__ void __launch_bounds__(optimizer_threads)
    step_kernel(TensorTable<StepCommon<typename Update::Scalars>, StepRecord<T, G>> const __grid_constant__ table) {
  constexpr int V = vector_width<Accumulator<T>>;
  if (load(&table.common.numbers->skipped) != 0) return;
  const StepRecord<T, G>& item = table.of_block(blockIdx.x);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x - item.first_block) * optimizer_block;
  const std::int64_t end = begin + optimizer_block < item.count ? begin + optimizer_block : item.count;
  const auto& scalars = table.common.scalars;
  const StepNumbers numbers = numbers_of_step(table.common.numbers);
  const Update update{{scalars, numbers}};
  const ParameterStep<Update> step{update, update.c.decay(item.weight_decay), scalars.stochastic_rounding,
                                   scalars.seed + static_cast<std::uint64_t>(numbers.step)};
  const bool aligned = aligned_for<V>(item.weight) && aligned_for<V>(item.master) && aligned_for<V>(item.gradient) &&
                       aligned_for<V>(item.states[0]) && aligned_for<V>(item.states[1]);
  for (std::int64_t at = begin + std::int64_t{threadIdx.x} * V; at < end; at += optimizer_threads * V) {
    if (aligned && at + V <= end)
      step_elements<V>(step, item, at);
    else
      for (std::int64_t i = at; i < end && i < at + V; ++i) step_elements<1>(step, item, i);
  }
}

// ---- norm ----

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

// ---- what is decided between the norm and the update ----

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

// ---- launchers ----

namespace kernel_detail {

/// Fills tables from `parameters` and calls launch_table(table, blocks) for each that is full, and for the last.
/// `record_of` gives a record but for its first block.
template <class Table, class Parameter, class RecordOf, class LaunchTable>
void launch_tables(Table& table, std::span<const Parameter> parameters, std::int64_t elements_per_block,
                   const RecordOf& record_of, const LaunchTable& launch_table) {
  table.count = 0;
  std::int64_t blocks = 0;
  for (const Parameter& one : parameters) {
    auto record = record_of(one);
    if (record.count == 0) continue;
    record.first_block = grid_extent(blocks);
    blocks += ceil_div(record.count, elements_per_block);
    table.records[table.count++] = record;
    if (table.count < Table::capacity) continue;
    launch_table(blocks);
    table.count = 0;
    blocks = 0;
  }
  if (table.count > 0) launch_table(blocks);
}

template <class T, class G>
void check_packed(const char* op, const OptimizedView<T, G>& one) {
  check(one.weight.packed() && one.master.packed() && one.gradient.packed() && one.states[0].packed() &&
            one.states[1].packed(),
        "[{}] a parameter of {} elements, its gradient and its states must be packed", op, one.weight.extent(0));
}

template <class T, int Rank>
T* data_or_null(const View<T, Rank>& view) {
  return view.extent(0) == 0 ? nullptr : view.data;
}

template <template <class> class Update, class Scalars, class T, class G>
void step(KernelDevice& device, const char* name, const Scalars& scalars, const View<const StepNumbers, 1>& numbers,
          std::span<const OptimizedView<T, G>> parameters) {
  using Table = TensorTable<StepCommon<Scalars>, StepRecord<T, G>>;
  static_assert(sizeof(Table) <= most_argument_bytes);
  Table table{.common = {scalars, numbers.data}, .count = 0, .records = {}};
  const auto record_of = [&](const OptimizedView<T, G>& one) {
    check_packed(name, one);
    return StepRecord<T, G>{.weight = one.weight.data,
                            .master = data_or_null(one.master),
                            .gradient = one.gradient.data,
                            .states = {data_or_null(one.states[0]), data_or_null(one.states[1])},
                            .count = one.weight.extent(0),
                            .offset = one.offset,
                            .weight_decay = one.weight_decay,
                            .first_block = 0};
  };
  launch_tables(table, parameters, optimizer_block, record_of, [&](std::int64_t blocks) {
    launch(device, name, shape_for(blocks * optimizer_threads, optimizer_threads),
           &step_kernel<T, G, Update<Accumulator<T>>>, table);
  });
}

}  // namespace kernel_detail

/// One AdamW step of all parameters; states are m and v.
template <class T, class G>
void run(Tag<kernel::AdamWStep>, KernelDevice& device, const AdamWScalars& scalars, In<StepNumbers, 1> numbers,
         std::span<const OptimizedView<T, G>> parameters) {
  kernel_detail::step<AdamWUpdate>(device, "adamw_step", scalars, numbers, parameters);
}

/// One SGD step of all parameters; the first state is the momentum's buffer when scalars.momentum is not 0.
template <class T, class G>
void run(Tag<kernel::SgdStep>, KernelDevice& device, const SgdScalars& scalars, In<StepNumbers, 1> numbers,
         std::span<const OptimizedView<T, G>> parameters) {
  kernel_detail::step<SgdUpdate>(device, "sgd_step", scalars, numbers, parameters);
}

/// numbers[0] becomes those of the step that begins: `partials` are the gradients' sums of squares.
inline void run(Tag<kernel::BeginStep>, KernelDevice& device, const StepRule& rule, View<const double, 1> partials,
                View<StepNumbers, 1> numbers) {
  check(partials.packed(), "[begin_step] the partial sums must be packed");
  launch(device, "begin_step", shape_for(sum_threads, sum_threads, sizeof(SumShared)), &begin_step_kernel<double>, rule,
         partials.data, partials.extent(0), numbers.data);
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

}  // namespace HONE_TARGET
}  // namespace hone
