// Optimizer steps and the gradient's norm on the CPU.
//   AdamW (Loshchilov and Hutter, 2019), in torch.optim.AdamW's order:
//     w <- w (1 - lr wd);  m <- m + (1 - b1)(g - m);  v <- b2 v + (1 - b2) g^2
//     w <- w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//   SGD, as torch.optim.SGD without dampening:
//     g <- g + wd w;  b <- mu b + g;  w <- w - lr (nesterov ? g + mu b : b)
#pragma once

#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/cpu/philox_words.hpp>
#include <hone/cpu/vector_math.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/optimizer_scalars.hpp>

#include <cmath>
#include <span>

namespace hone {

namespace kernel {
struct SumOfSquares;
struct BeginStep;
struct AdamWStep;
struct SgdStep;
}  // namespace kernel

/// `value` rounded up or down by chance: see stochastic_bf16_bits.
HONE_ALWAYS_INLINE bf16 round_stochastically(float value, std::uint32_t word) {
  return bf16::from_bits(stochastic_bf16_bits(value, word));
}

namespace cpu {

inline constexpr std::int64_t optimizer_grain = 16384;  // elements a task takes
inline constexpr std::int64_t optimizer_chunk = 256;    // elements computed before their parameters are rounded

/// sqrt(x) for x >= 0 within 2 units in the last place, in a form that vectorises (std::sqrt may set errno): three
/// Newton steps on 1/sqrt(x) from half the exponent, and one on the root. Subnormal x: only roughly.
HONE_ALWAYS_INLINE float vector_sqrt(float x) {
  float r = std::bit_cast<float>(0x5f375a00u - (std::bit_cast<std::uint32_t>(x) >> 1));
  const float half = 0.5f * x;
  for (int step = 0; step < 3; ++step) r = r * (1.5f - half * r * r);
  const float root = x * r;
  return root + 0.5f * r * (x - root * root);
}
HONE_ALWAYS_INLINE double vector_sqrt(double x) { return std::sqrt(x); }

/// Where a parameter is read and how it is written back: the master copy rules when there is one.
template <class T>
struct ParameterAccess {
  T* parameter;
  float* master;    // null: none
  bool stochastic;  // bf16 without a master copy only
  std::uint64_t seed, offset;
};

template <class T, class G, class Scalars>
ParameterAccess<T> access(const Scalars& scalars, const StepNumbers& numbers, const OptimizedView<T, G>& one) {
  float* wide = wanted(one.master) ? packed_data("optimizer master", one.master) : nullptr;
  const bool stochastic = scalars.stochastic_rounding && wide == nullptr && std::is_same_v<T, bf16>;
  return {packed_data("optimizer parameter", one.weight), wide, stochastic,
          scalars.seed + static_cast<std::uint64_t>(numbers.step), one.offset};
}

/// values[i] = parameter at + i, i < count.
template <class T, class S>
HONE_ALWAYS_INLINE void read_parameters(const ParameterAccess<T>& from, std::int64_t at, std::int64_t count,
                                        S* HONE_RESTRICT values) {
  const T* parameter = from.parameter + at;
  const float* master = from.master + (from.master != nullptr ? at : 0);
  if (from.master != nullptr)
    for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<S>(master[i]);
  else
    for (std::int64_t i = 0; i < count; ++i) values[i] = widen(parameter[i]);
}

/// The way back; `at` is a multiple of philox_chunk.
template <class T, class S>
HONE_ALWAYS_INLINE void write_parameters(const ParameterAccess<T>& to, std::int64_t at, std::int64_t count,
                                         const S* HONE_RESTRICT values) {
  T* HONE_RESTRICT parameter = to.parameter + at;
  if (to.master != nullptr)
    for (std::int64_t i = 0; i < count; ++i) to.master[at + i] = static_cast<float>(values[i]);
  if constexpr (std::is_same_v<T, bf16>) {
    if (to.stochastic) {
      std::uint32_t words[philox_chunk];
      for (std::int64_t begin = 0; begin < count; begin += philox_chunk) {
        philox_words(to.seed, to.offset, static_cast<std::uint64_t>(at + begin) / 4, words);
        const std::int64_t here = count - begin < philox_chunk ? count - begin : philox_chunk;
        for (std::int64_t i = 0; i < here; ++i)
          parameter[begin + i] = round_stochastically(values[begin + i], words[i]);
      }
      return;
    }
  }
  for (std::int64_t i = 0; i < count; ++i) parameter[i] = round_to<T>(values[i]);
}

template <class T, class G>
struct AdamWRange {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(ParameterAccess<T> target, AdamWConstants<S> c, S decay, const G* gradient,
                                     S* moment1, S* moment2, std::int64_t first, std::int64_t last) {
    S values[optimizer_chunk];
    for (std::int64_t at = first; at < last; at += optimizer_chunk) {
      const std::int64_t count = last - at < optimizer_chunk ? last - at : optimizer_chunk;
      const G* HONE_RESTRICT g = gradient + at;
      S* HONE_RESTRICT m = moment1 + at;
      S* HONE_RESTRICT v = moment2 + at;
      read_parameters(target, at, count, values);
      for (std::int64_t i = 0; i < count; ++i) {
        const S gi = static_cast<S>(widen(g[i])) * c.gradient_scale;
        const S mi = m[i] + c.rest1 * (gi - m[i]), vi = v[i] * c.beta2 + c.rest2 * gi * gi;
        m[i] = mi;
        v[i] = vi;
        values[i] = values[i] * decay - c.step_size * (mi / (vector_sqrt(vi) * c.root + c.epsilon));
      }
      write_parameters(target, at, count, values);
    }
  }
};

template <class T, class G>
struct SgdRange {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(ParameterAccess<T> target, SgdConstants<S> c, S decay, const G* gradient,
                                     S* momentum, std::int64_t first, std::int64_t last) {
    S values[optimizer_chunk], direction[optimizer_chunk];
    for (std::int64_t at = first; at < last; at += optimizer_chunk) {
      const std::int64_t count = last - at < optimizer_chunk ? last - at : optimizer_chunk;
      const G* HONE_RESTRICT g = gradient + at;
      read_parameters(target, at, count, values);
      for (std::int64_t i = 0; i < count; ++i)
        direction[i] = static_cast<S>(widen(g[i])) * c.gradient_scale + decay * values[i];
      if (momentum != nullptr) {
        S* HONE_RESTRICT buffer = momentum + at;
        for (std::int64_t i = 0; i < count; ++i) {
          buffer[i] = c.momentum * buffer[i] + direction[i];
          direction[i] = c.nesterov ? direction[i] + c.momentum * buffer[i] : buffer[i];
        }
      }
      for (std::int64_t i = 0; i < count; ++i) values[i] -= c.rate * direction[i];
      write_parameters(target, at, count, values);
    }
  }
};

template <class G>
struct SquareTerm {
  const G* x;
  HONE_ALWAYS_INLINE double operator()(std::int64_t i) const {
    const auto value = static_cast<double>(widen(x[i]));
    return value * value;
  }
};

template <class G>
struct SumOfSquaresBlock {
  HONE_ALWAYS_INLINE static void run(const G* x, std::int64_t count, double* sum) {
    *sum = lane_sum<double>(count, SquareTerm<G>{x});
  }
};

}  // namespace cpu

/// partials[b] = sum of squares of block b of sum_of_squares_block elements, in double.
template <class G>
void run(Tag<kernel::SumOfSquares>, Cpu& device, View<const G, 1> x, View<double, 1> partials) {
  const G* data = cpu::packed_data("sum_of_squares", x);
  cpu::for_ranges(device, x.extent(0), sum_of_squares_block, [&](std::int64_t first, std::int64_t last) {
    dispatch<cpu::SumOfSquaresBlock<G>>(device.target().isa, data + first, last - first,
                                        &partials(first / sum_of_squares_block));
  });
}
/// The same for the gradients of several parameters, one behind the other.
template <class T, class G>
void run(Tag<kernel::SumOfSquares> tag, Cpu& device, std::span<const OptimizedView<T, G>> parameters,
         View<double, 1> partials) {
  std::int64_t first = 0;
  for (const auto& one : parameters) {
    const std::int64_t blocks = sum_of_squares_blocks(one.gradient.extent(0));
    run(tag, device, one.gradient, View<double, 1>{partials.data + first, {blocks}, 1});
    first += blocks;
  }
}

/// numbers[0] becomes those of the step that begins: `partials` are the gradients' sums of squares.
inline void run(Tag<kernel::BeginStep>, Cpu&, const StepRule& rule, View<const double, 1> partials,
                View<StepNumbers, 1> numbers) {
  double sum = 0;
  for (std::int64_t i = 0; i < partials.extent(0); ++i) sum += partials(i);
  begin_step(numbers(0), rule, sum);
}

/// One AdamW step of several parameters, whose states are m and v.
template <class T, class G>
void run(Tag<kernel::AdamWStep>, Cpu& device, const AdamWScalars& scalars, In<StepNumbers, 1> numbers,
         std::span<const OptimizedView<T, G>> parameters) {
  using S = Accumulator<T>;
  if (numbers(0).skipped != 0) return;
  const AdamWConstants<S> constants(scalars, numbers(0));
  for (const auto& one : parameters) {
    const auto target = cpu::access(scalars, numbers(0), one);
    const S decay = constants.decay(one.weight_decay);
    const G* g = cpu::packed_data("adamw gradient", one.gradient);
    S* m = cpu::packed_data("adamw m", one.states[0]);
    S* v = cpu::packed_data("adamw v", one.states[1]);
    cpu::for_ranges(device, one.weight.extent(0), cpu::optimizer_grain, [&](std::int64_t first, std::int64_t last) {
      dispatch<cpu::AdamWRange<T, G>>(device.target().isa, target, constants, decay, g, m, v, first, last);
    });
  }
}

/// One SGD step of several parameters; the state is the momentum's buffer, absent where there is no momentum.
template <class T, class G>
void run(Tag<kernel::SgdStep>, Cpu& device, const SgdScalars& scalars, In<StepNumbers, 1> numbers,
         std::span<const OptimizedView<T, G>> parameters) {
  using S = Accumulator<T>;
  if (numbers(0).skipped != 0) return;
  const SgdConstants<S> constants(scalars, numbers(0));
  for (const auto& one : parameters) {
    const auto target = cpu::access(scalars, numbers(0), one);
    const S decay = constants.decay(one.weight_decay);
    const G* g = cpu::packed_data("sgd gradient", one.gradient);
    S* buffer = cpu::wanted(one.states[0]) ? cpu::packed_data("sgd momentum", one.states[0]) : nullptr;
    cpu::for_ranges(device, one.weight.extent(0), cpu::optimizer_grain, [&](std::int64_t first, std::int64_t last) {
      dispatch<cpu::SgdRange<T, G>>(device.target().isa, target, constants, decay, g, buffer, first, last);
    });
  }
}

}  // namespace hone
