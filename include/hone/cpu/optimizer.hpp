// Optimizer steps and the gradient's norm on the CPU.
//   AdamW (Loshchilov and Hutter, 2019), in torch.optim.AdamW's order:
//     w <- w (1 - lr wd);  m <- m + (1 - b1)(g - m);  v <- b2 v + (1 - b2) g^2
//     w <- w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//   SGD, as torch.optim.SGD without dampening:
//     g <- g + wd w;  b <- mu b + g;  w <- w - lr (nesterov ? g + mu b : b)
#pragma once

#include <hone/core/philox.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/optimizer_scalars.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct SumOfSquares;
struct AdamWStep;
struct SgdStep;
}  // namespace kernel

/// `value` rounded to one of the two nearest bf16, up with the probability of its distance from below: unbiased, so
/// that updates smaller than half a step are not lost. `word` is uniform; infinities and NaN stay.
constexpr bf16 round_stochastically(float value, std::uint32_t word) {
  const auto raw = std::bit_cast<std::uint32_t>(value);
  if ((raw & 0x7f800000u) == 0x7f800000u) return bf16(value);
  return bf16::from_bits(static_cast<std::uint16_t>((raw + (word >> 16)) >> 16));
}

namespace cpu {

inline constexpr std::int64_t optimizer_grain = 16384;  // elements a task takes

/// Where a parameter's value is read and how it is written back: the master copy rules when there is one.
template <class T>
struct ParameterAccess {
  using S = Accumulator<T>;
  T* parameter;
  float* master;  // null: none
  bool stochastic;
  std::uint64_t seed, offset;

  S read(std::int64_t i) const { return master != nullptr ? static_cast<S>(master[i]) : static_cast<S>(parameter[i]); }
  void write(std::int64_t i, S value) const {
    if (master != nullptr) master[i] = static_cast<float>(value);
    if constexpr (std::is_same_v<T, bf16>) {
      if (stochastic) {
        parameter[i] = round_stochastically(value, philox_word(seed, offset, static_cast<std::uint64_t>(i)));
        return;
      }
    }
    parameter[i] = static_cast<T>(value);
  }
};

template <class T, class Scalars>
ParameterAccess<T> access(const Scalars& scalars, const View<T, 1>& parameter, const View<float, 1>& master) {
  float* wide = wanted(master) ? packed_data("optimizer master", master) : nullptr;
  return {packed_data("optimizer parameter", parameter), wide, scalars.stochastic_rounding && wide == nullptr,
          scalars.seed, scalars.offset};
}

}  // namespace cpu

/// partials[b] = sum of squares of block b of sum_of_squares_block elements, in double.
template <class G>
void run(Tag<kernel::SumOfSquares>, Cpu& device, View<const G, 1> x, View<double, 1> partials) {
  const G* data = cpu::packed_data("sum_of_squares", x);
  cpu::for_ranges(device, x.extent(0), sum_of_squares_block, [&](std::int64_t first, std::int64_t last) {
    double sum = 0;
    for (std::int64_t i = first; i < last; ++i) {
      const auto value = static_cast<double>(static_cast<Accumulator<G>>(data[i]));
      sum += value * value;
    }
    partials(first / sum_of_squares_block) = sum;
  });
}

/// One AdamW step; m and v are the moments, of the parameter's extent.
template <class T, class G>
void run(Tag<kernel::AdamWStep>, Cpu& device, const AdamWScalars& scalars, View<T, 1> parameter, View<float, 1> master,
         View<const G, 1> gradient, View<Accumulator<T>, 1> m, View<Accumulator<T>, 1> v) {
  using S = Accumulator<T>;
  const auto target = cpu::access(scalars, parameter, master);
  const G* g = cpu::packed_data("adamw gradient", gradient);
  S* first_moment = cpu::packed_data("adamw m", m);
  S* second_moment = cpu::packed_data("adamw v", v);
  const double correction1 = 1 - std::pow(scalars.beta1, static_cast<double>(scalars.step));
  const double correction2 = 1 - std::pow(scalars.beta2, static_cast<double>(scalars.step));
  const S decay = static_cast<S>(1 - scalars.learning_rate * scalars.weight_decay);
  const S step_size = static_cast<S>(scalars.learning_rate / correction1);
  const S root = static_cast<S>(std::sqrt(correction2)), epsilon = static_cast<S>(scalars.epsilon);
  const S beta2 = static_cast<S>(scalars.beta2), scale = static_cast<S>(scalars.gradient_scale);
  const S rest1 = static_cast<S>(1 - scalars.beta1), rest2 = static_cast<S>(1 - scalars.beta2);
  cpu::for_ranges(device, parameter.extent(0), cpu::optimizer_grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const S gi = static_cast<S>(g[i]) * scale;
      first_moment[i] += rest1 * (gi - first_moment[i]);
      second_moment[i] = second_moment[i] * beta2 + rest2 * gi * gi;
      const S denominator = std::sqrt(second_moment[i]) / root + epsilon;
      target.write(i, target.read(i) * decay - step_size * (first_moment[i] / denominator));
    }
  });
}

/// One SGD step; `momentum` holds the buffer when scalars.momentum is not 0.
template <class T, class G>
void run(Tag<kernel::SgdStep>, Cpu& device, const SgdScalars& scalars, View<T, 1> parameter, View<float, 1> master,
         View<const G, 1> gradient, View<Accumulator<T>, 1> momentum) {
  using S = Accumulator<T>;
  const auto target = cpu::access(scalars, parameter, master);
  const G* g = cpu::packed_data("sgd gradient", gradient);
  S* buffer = cpu::wanted(momentum) ? cpu::packed_data("sgd momentum", momentum) : nullptr;
  const S rate = static_cast<S>(scalars.learning_rate), mu = static_cast<S>(scalars.momentum);
  const S decay = static_cast<S>(scalars.weight_decay), scale = static_cast<S>(scalars.gradient_scale);
  cpu::for_ranges(device, parameter.extent(0), cpu::optimizer_grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const S value = target.read(i);
      S direction = static_cast<S>(g[i]) * scale + decay * value;
      if (buffer != nullptr) {
        buffer[i] = mu * buffer[i] + direction;
        direction = scalars.nesterov ? direction + mu * buffer[i] : buffer[i];
      }
      target.write(i, value - rate * direction);
    }
  });
}

}  // namespace hone
