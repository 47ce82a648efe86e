// Optimizer steps, all parameters of one type in one launch. How a step begins is in gradient_norm.cuh.
//   AdamW (Loshchilov and Hutter, 2019), in torch.optim.AdamW's order:
//     w <- w (1 - lr wd);  m <- m + (1 - b1)(g - m);  v <- b2 v + (1 - b2) g^2
//     w <- w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//   SGD, as torch.optim.SGD without dampening:
//     g <- g + wd w;  b <- mu b + g;  w <- w - lr (nesterov ? g + mu b : b)
#pragma once

#include <hone/kernels/gradient_norm.cuh>
#include <hone/kernels/optimizer_states.cuh>

#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>
#include <variant>

namespace hone {

namespace kernel {
struct AdamWStep;
struct SgdStep;
}  // namespace kernel

inline namespace HONE_TARGET {

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

/// One parameter of a launch; all its pointers but weight and gradient may be null.
template <class T, class G, class State>
struct StepRecord {
  T* weight;
  float* master;
  const G* gradient;
  State states[2];
  std::int64_t count;
  std::uint64_t offset;
  double weight_decay;
  unsigned first_quad;  // the place of the first element, in fours: a launch then holds LoRA on 32 layers
  unsigned first_block;

  __device__ bool aligned() const {
    return aligned_for<access_width<T, State::width>>(weight) &&
           aligned_for<access_width<float, State::width>>(master) &&
           aligned_for<access_width<G, State::width>>(gradient) && states[0].aligned() && states[1].aligned();
  }
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

/// The elements of `span`, with all that belongs to them.
template <int N, class T, class G, class State, class Update>
__device__ void step_elements(const ParameterStep<Update>& step, const StepRecord<T, G, State>& item,
                              const typename State::Shared* shared, const Span& span) {
  using S = Accumulator<T>;
  G gradient[N];
  T narrow[N]{};
  float master[N]{};
  S first[N], second[N], values[N];
  read_elements(item.gradient + span.at, span.count, span.whole, gradient);
  if (item.master != nullptr)
    read_elements(item.master + span.at, span.count, span.whole, master);
  else
    read_elements(item.weight + span.at, span.count, span.whole, narrow);
  item.states[0].template read<0>(shared, span, first);
  item.states[1].template read<1>(shared, span, second);
  HONE_UNROLL
  for (int i = 0; i < N; ++i) {
    const S weight = item.master != nullptr ? static_cast<S>(master[i]) : widened<S>(narrow[i]);
    values[i] = step.update(weight, widened<S>(gradient[i]), first[i], second[i], step.decay);
    master[i] = static_cast<float>(values[i]);
    narrow[i] = rounded_to<T>(values[i]);
  }
  if constexpr (std::is_same_v<T, bf16>) {
    if (step.stochastic && item.master == nullptr) {
      const ElementWords<N> words(step.seed, item.offset, span.drawn_at);
      HONE_UNROLL
      for (int i = 0; i < N; ++i) narrow[i] = round_by_chance(values[i], words.words[i]);
    }
  }
  item.states[0].template write<0>(shared, span, first);
  item.states[1].template write<1>(shared, span, second);
  if (item.master != nullptr) write_elements(item.master + span.at, span.count, span.whole, master);
  write_elements(item.weight + span.at, span.count, span.whole, narrow);
}

/// States move 16 bytes at a time, those of 8 bits 8 bytes; a warp stays together, for those are a warp's work.
template <class T, class G, class State, class Update>
__global__ void __launch_bounds__(optimizer_threads) step_kernel(
    TensorTable<StepCommon<typename Update::Scalars>, StepRecord<T, G, State>> const __grid_constant__ table) {
  constexpr int V = State::width;
  if (load(&table.common.numbers->skipped) != 0) return;
  const StepRecord<T, G, State>& item = table.of_block(blockIdx.x);
  const typename State::Shared* shared = State::prepare(item.states);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x - item.first_block) * optimizer_block;
  const std::int64_t end = begin + optimizer_block < item.count ? begin + optimizer_block : item.count;
  const auto& scalars = table.common.scalars;
  const StepNumbers numbers = numbers_of_step(table.common.numbers);
  const Update update{{scalars, numbers}};
  const ParameterStep<Update> step{update, update.c.decay(item.weight_decay), scalars.stochastic_rounding,
                                   scalars.seed + static_cast<std::uint64_t>(numbers.step)};
  const bool aligned = item.aligned();
  const int lane = lane_index();
  for (std::int64_t of_warp = begin + (std::int64_t{threadIdx.x} - lane) * V; of_warp < end;
       of_warp += optimizer_threads * V) {
    const std::int64_t at = of_warp + std::int64_t{lane} * V, left = end - at;
    const int count = left >= V ? V : left > 0 ? static_cast<int>(left) : 0;
    step_elements<V>(step, item, shared,
                     {at, count, aligned && count == V, step.seed, state_stream(item.offset),
                      4 * std::int64_t{item.first_quad} + at});
  }
}

// ---- launchers ----

namespace kernel_detail {

template <class T, int Rank>
T* data_or_null(const View<T, Rank>& view) {
  return view.extent(0) == 0 ? nullptr : view.data;
}

template <class S, class M>
DirectState<S, M> state_of(const View<M, 1>& view) {
  return {data_or_null(view)};
}
template <class S>
BlockwiseState state_of(const BlockwiseView& view) {
  return {view.codes.data, view.absmax.data, view.map};
}

template <class T, class G>
void check_packed(const char* op, const OptimizedView<T, G>& one) {
  const auto packed = [](const auto& state) {
    return std::visit([](const auto& view) { return view.packed(); }, state);
  };
  check(one.weight.packed() && one.master.packed() && one.gradient.packed() && packed(one.states[0]) &&
            packed(one.states[1]),
        "[{}] a parameter of {} elements, its gradient and its states must be packed", op, one.weight.extent(0));
}

/// The parameters whose states are kept as a State.
template <class State, class Update, class T, class G>
void step(KernelDevice& device, const char* name, const typename Update::Scalars& scalars, const StepNumbers* numbers,
          std::span<const OptimizedView<T, G>> parameters) {
  using Record = StepRecord<T, G, State>;
  using Table = TensorTable<StepCommon<typename Update::Scalars>, Record>;
  static_assert(sizeof(Table) <= most_argument_bytes);
  Table table{.common = {scalars, numbers}, .count = 0, .records = {}};
  const auto record_of = [&](const OptimizedView<T, G>& one) {
    using S = Accumulator<T>;
    const auto* first = std::get_if<typename State::View>(&one.states[0]);
    if (first == nullptr) return Record{};  // of no elements: not in this launch
    check_packed(name, one);
    const auto* second = std::get_if<typename State::View>(&one.states[1]);
    return Record{.weight = one.weight.data,
                  .master = data_or_null(one.master),
                  .gradient = one.gradient.data,
                  .states = {state_of<S>(*first), second != nullptr ? state_of<S>(*second) : State{}},
                  .count = one.weight.extent(0),
                  .offset = one.offset,
                  .weight_decay = one.weight_decay,
                  .first_quad = static_cast<unsigned>(one.first / 4),
                  .first_block = 0};
  };
  launch_tables(table, parameters, optimizer_block, record_of, [&](std::int64_t blocks) {
    launch(device, name, shape_for(blocks * optimizer_threads, optimizer_threads, State::shared_bytes),
           &step_kernel<T, G, State, Update>, table);
  });
}

}  // namespace kernel_detail

/// One AdamW step of all parameters, a launch for each type that moments are kept in; states are m and v.
template <class T, class G>
void run(Tag<kernel::AdamWStep>, KernelDevice& device, const AdamWScalars& scalars, In<StepNumbers, 1> numbers,
         std::span<const OptimizedView<T, G>> parameters) {
  using S = Accumulator<T>;
  using Update = AdamWUpdate<S>;
  kernel_detail::step<DirectState<S, S>, Update>(device, "adamw_step", scalars, numbers.data, parameters);
  if constexpr (!std::is_same_v<S, double>) {
    kernel_detail::step<DirectState<S, bf16>, Update>(device, "adamw_step_bf16", scalars, numbers.data, parameters);
    kernel_detail::step<BlockwiseState, Update>(device, "adamw_step_8bit", scalars, numbers.data, parameters);
  }
}

/// One SGD step of all parameters; the first state is the momentum's buffer when scalars.momentum is not 0.
template <class T, class G>
void run(Tag<kernel::SgdStep>, KernelDevice& device, const SgdScalars& scalars, In<StepNumbers, 1> numbers,
         std::span<const OptimizedView<T, G>> parameters) {
  using S = Accumulator<T>;
  kernel_detail::step<DirectState<S, S>, SgdUpdate<S>>(device, "sgd_step", scalars, numbers.data, parameters);
}

}  // namespace HONE_TARGET
}  // namespace hone
