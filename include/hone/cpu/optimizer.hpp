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
#include <hone/quant/dynamic_map.hpp>
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
inline constexpr std::int64_t optimizer_chunk = 256;    // elements computed before what is kept of them is rounded
static_assert(optimizer_chunk == dynamic_block && optimizer_grain % optimizer_chunk == 0);

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
  std::int64_t first;  // place of element 0 in that stream
};

template <class T, class G, class Scalars>
ParameterAccess<T> access(const Scalars& scalars, const StepNumbers& numbers, const OptimizedView<T, G>& one) {
  float* wide = wanted(one.master) ? packed_data("optimizer master", one.master) : nullptr;
  const bool stochastic = scalars.stochastic_rounding && wide == nullptr && std::is_same_v<T, bf16>;
  return {packed_data("optimizer parameter", one.weight),          wide,       stochastic,
          scalars.seed + static_cast<std::uint64_t>(numbers.step), one.offset, one.first};
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
        philox_words(to.seed, to.offset, static_cast<std::uint64_t>(to.first + at + begin) / 4, words);
        const std::int64_t here = count - begin < philox_chunk ? count - begin : philox_chunk;
        for (std::int64_t i = 0; i < here; ++i)
          parameter[begin + i] = round_stochastically(values[begin + i], words[i]);
      }
      return;
    }
  }
  for (std::int64_t i = 0; i < count; ++i) parameter[i] = round_to<T>(values[i]);
}

/// Where a state is read and how it is written back. One of the three is there, or none.
template <class S>
struct StateAccess {
  S* wide = nullptr;
  bf16* half = nullptr;
  std::uint8_t* codes = nullptr;
  float* absmax = nullptr;
  const DynamicMap* map = nullptr;
};

template <class S>
StateAccess<S> access(const char* what, const View<S, 1>& view) {
  return {.wide = wanted(view) ? packed_data(what, view) : nullptr};
}
template <class S>
StateAccess<S> access(const char* what, const View<bf16, 1>& view) requires(!std::is_same_v<S, bf16>) {
  return {.half = packed_data(what, view)};
}
template <class S>
StateAccess<S> access(const char* what, const BlockwiseView& view) {
  return {.codes = packed_data(what, view.codes), .absmax = packed_data(what, view.absmax), .map = view.map};
}
template <class S>
StateAccess<S> access(const char* what, const StateView<S>& state) {
  return std::visit([&](const auto& view) { return access<S>(what, view); }, state);
}

/// Elements at .. at + count - 1 of a state, `at` a multiple of optimizer_chunk: where they are, or in `values`.
template <class S>
HONE_ALWAYS_INLINE S* read_state(const StateAccess<S>& from, std::int64_t at, std::int64_t count,
                                 S* HONE_RESTRICT values) {
  if (from.wide != nullptr) return from.wide + at;
  if (from.half != nullptr) {
    const bf16* half = from.half + at;
    for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<S>(widen(half[i]));
    return values;
  }
  const std::uint8_t* codes = from.codes + at;
  const float* table = from.map->values;
  const float scale = from.absmax[at / dynamic_block];
  for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<S>(table[codes[i]] * scale);
  return values;
}

template <class S>
struct Magnitude {
  const S* values;
  HONE_ALWAYS_INLINE float operator()(std::int64_t i) const {
    const auto value = static_cast<float>(values[i]);
    return value < 0 ? -value : value;
  }
};

/// The way back for states of 8 bits.
template <bool WithSign, class S>
HONE_ALWAYS_INLINE void write_codes(const StateAccess<S>& to, std::int64_t at, std::int64_t count,
                                    const S* HONE_RESTRICT values) {
  const float absmax = lane_max<float>(count, Magnitude<S>{values});
  const float scale = one_over_absmax(absmax);
  const float* bounds = to.map->bounds;
  std::uint8_t* HONE_RESTRICT codes = to.codes + at;
  for (std::int64_t i = 0; i < count; ++i)
    codes[i] = static_cast<std::uint8_t>(nearest_dynamic_code<WithSign>(bounds, static_cast<float>(values[i]) * scale));
  to.absmax[at / dynamic_block] = absmax;
}

/// The way back for states of bf16, by chance; half of each word is for this state.
template <class S>
HONE_ALWAYS_INLINE void write_halves(const StateAccess<S>& to, std::int64_t at, std::int64_t count,
                                     const S* HONE_RESTRICT values, const std::uint32_t* HONE_RESTRICT words,
                                     int shift) {
  bf16* HONE_RESTRICT half = to.half + at;
  for (std::int64_t i = 0; i < count; ++i)
    half[i] = round_stochastically(static_cast<float>(values[i]), words[i] << shift);
}

/// Both moments back to where they are kept. Where they are read in place there is nothing to do.
template <class T, class S>
HONE_ALWAYS_INLINE void write_moments(const ParameterAccess<T>& target, const StateAccess<S>& first,
                                      const StateAccess<S>& second, std::int64_t at, std::int64_t count,
                                      const S* HONE_RESTRICT m, const S* HONE_RESTRICT v) {
  if (first.codes != nullptr) {
    write_codes<true>(first, at, count, m);
    write_codes<false>(second, at, count, v);
  }
  if (first.half != nullptr) {
    std::uint32_t words[optimizer_chunk];
    for (std::int64_t begin = 0; begin < count; begin += philox_chunk)
      philox_words(target.seed, state_stream(target.offset), static_cast<std::uint64_t>(target.first + at + begin) / 4,
                   words + begin);
    write_halves(first, at, count, m, words, 0);
    write_halves(second, at, count, v, words, 16);
  }
}

template <class T, class G>
struct AdamWRange {
  using S = Accumulator<T>;
  HONE_ALWAYS_INLINE static void run(ParameterAccess<T> target, AdamWConstants<S> c, S decay, const G* gradient,
                                     StateAccess<S> first_moment, StateAccess<S> second_moment, std::int64_t first,
                                     std::int64_t last) {
    S values[optimizer_chunk], m_values[optimizer_chunk], v_values[optimizer_chunk];
    for (std::int64_t at = first; at < last; at += optimizer_chunk) {
      const std::int64_t count = last - at < optimizer_chunk ? last - at : optimizer_chunk;
      const G* HONE_RESTRICT g = gradient + at;
      S* HONE_RESTRICT m = read_state(first_moment, at, count, m_values);
      S* HONE_RESTRICT v = read_state(second_moment, at, count, v_values);
      read_parameters(target, at, count, values);
      for (std::int64_t i = 0; i < count; ++i) {
        const S gi = static_cast<S>(widen(g[i])) * c.gradient_scale;
        const S mi = m[i] + c.rest1 * (gi - m[i]), vi = v[i] * c.beta2 + c.rest2 * gi * gi;
        m[i] = mi;
        v[i] = vi;
        values[i] = values[i] * decay - c.step_size * (mi / (vector_sqrt(vi) * c.root + c.epsilon));
      }
      write_parameters(target, at, count, values);
      write_moments(target, first_moment, second_moment, at, count, m, v);
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
    const auto m = cpu::access<S>("adamw m", one.states[0]);
    const auto v = cpu::access<S>("adamw v", one.states[1]);
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
    S* buffer = cpu::access<S>("sgd momentum", std::get<View<S, 1>>(one.states[0])).wide;
    cpu::for_ranges(device, one.weight.extent(0), cpu::optimizer_grain, [&](std::int64_t first, std::int64_t last) {
      dispatch<cpu::SgdRange<T, G>>(device.target().isa, target, constants, decay, g, buffer, first, last);
    });
  }
}

}  // namespace hone
