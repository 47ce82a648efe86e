// What an optimizer step is told: numbers, and the parameters it updates in one call. Plain data, the same for every
// device.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/config.hpp>
#include <hone/core/dtype.hpp>
#include <hone/tensor/view.hpp>

#include <array>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <span>
#include <variant>

namespace hone {

/// What the host says about a step, all that it sends to the device.
struct StepInput {
  double learning_rate = 0;
  std::int64_t tokens = 0;  ///< the supervised ones that the gradients are the sum over; 0: they are a sum as it is
};

/// Everything about a step that differs from one step to the next, in one place of the device's memory: a recorded
/// launch reads what is there when it runs. The host writes `input`, BeginStep the rest.
struct StepNumbers {
  StepInput input;
  std::int64_t step = 0;      ///< steps that updated, this one included; what bias corrections and rounding count by
  std::int64_t skipped = 0;   ///< 1: the norm is not finite, nothing may be updated
  double grad_norm = 0;       ///< of the token-mean gradient, before clipping
  double gradient_scale = 1;  ///< what every gradient is multiplied by: the mean over tokens, and the clipping
  double step_size = 0;       ///< learning_rate / (1 - beta1^step)
  double root = 1;            ///< 1 / sqrt(1 - beta2^step)
};

/// What a run's steps have in common, as BeginStep needs it. SGD has no betas.
struct StepRule {
  double beta1 = 0;
  double beta2 = 0;
  double max_grad_norm = 0;  ///< 0: no clipping
};

/// Begins a step whose gradients have this sum of squares: a norm that is not finite leaves the count where it is.
HONE_HOST_DEVICE inline void begin_step(StepNumbers& numbers, const StepRule& rule, double sum_of_squares) {
  const std::int64_t tokens = numbers.input.tokens;
  const double mean = tokens > 0 ? 1.0 / static_cast<double>(tokens) : 1.0;
  const double norm = mean * std::sqrt(sum_of_squares);
  numbers.grad_norm = norm;
  numbers.skipped = norm <= DBL_MAX ? 0 : 1;  // false of NaN too
  if (numbers.skipped != 0) return;
  ++numbers.step;
  double clip = 1;
  if (rule.max_grad_norm > 0 && rule.max_grad_norm / (norm + 1e-6) < 1) clip = rule.max_grad_norm / (norm + 1e-6);
  const auto t = static_cast<double>(numbers.step);
  numbers.gradient_scale = mean * clip;
  numbers.step_size = numbers.input.learning_rate / (1 - std::pow(rule.beta1, t));
  numbers.root = 1 / std::sqrt(1 - std::pow(rule.beta2, t));
}

/// What torch.optim.AdamW is told once for a run. A bf16 parameter without a master copy may be rounded stochastically,
/// with Philox's words of seed `seed` + step.
struct AdamWScalars {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  bool stochastic_rounding = false;
  std::uint64_t seed = 0;
};

/// The same of torch.optim.SGD (no dampening).
struct SgdScalars {
  double momentum = 0;
  bool nesterov = false;
  bool stochastic_rounding = false;
  std::uint64_t seed = 0;
};

/// AdamW's constants for one step, in the type the step is computed in. Each parameter has its own decay.
template <class S>
struct AdamWConstants {
  S step_size, root, epsilon, beta2, rest1, rest2, gradient_scale;
  double learning_rate;

  HONE_HOST_DEVICE AdamWConstants(const AdamWScalars& s, const StepNumbers& numbers)
      : step_size(static_cast<S>(numbers.step_size)),
        root(static_cast<S>(numbers.root)),
        epsilon(static_cast<S>(s.epsilon)),
        beta2(static_cast<S>(s.beta2)),
        rest1(static_cast<S>(1 - s.beta1)),
        rest2(static_cast<S>(1 - s.beta2)),
        gradient_scale(static_cast<S>(numbers.gradient_scale)),
        learning_rate(numbers.input.learning_rate) {}

  /// What the weight is multiplied by.
  HONE_HOST_DEVICE S decay(double weight_decay) const { return static_cast<S>(1 - learning_rate * weight_decay); }
};

template <class S>
struct SgdConstants {
  S rate, momentum, gradient_scale;
  bool nesterov;

  HONE_HOST_DEVICE SgdConstants(const SgdScalars& s, const StepNumbers& numbers)
      : rate(static_cast<S>(numbers.input.learning_rate)),
        momentum(static_cast<S>(s.momentum)),
        gradient_scale(static_cast<S>(numbers.gradient_scale)),
        nesterov(s.nesterov) {}

  /// What of the weight is added to its gradient.
  HONE_HOST_DEVICE S decay(double weight_decay) const { return static_cast<S>(weight_decay); }
};

struct DynamicMap;  // quant/dynamic_map.hpp

/// A state of 8 bits: codes on `map`, in blocks of dynamic_block that share a largest magnitude.
struct BlockwiseView {
  View<std::uint8_t, 1> codes;
  View<float, 1> absmax;
  const DynamicMap* map = nullptr;

  std::int64_t elements() const { return codes.elements(); }
  bool packed() const { return codes.packed() && absmax.packed(); }
};

/// One state of a parameter in whichever type it is kept; S is what it is computed in. Absent: no elements.
template <class S>
using StateView = std::variant<View<S, 1>, View<bf16, 1>, BlockwiseView>;

template <class S>
std::int64_t elements_of(const StateView<S>& state) {
  return std::visit([](const auto& view) { return view.elements(); }, state);
}

/// One parameter of a step over several, all its views packed and of its elements. `master` and states that a rule has
/// no use for are absent; those of one parameter are kept in one type.
template <class T, class G>
struct OptimizedView {
  View<T, 1> weight;
  View<float, 1> master;
  View<const G, 1> gradient;
  std::array<StateView<Accumulator<T>>, 2> states;  ///< AdamW: m, v; SGD: the momentum buffer
  double weight_decay = 0;
  std::uint64_t offset = 0;  ///< Philox stream of stochastic rounding
  std::int64_t first = 0;    ///< place in that stream of the first element, a multiple of 4: of a part of a parameter
};

/// The Philox stream from which states of bf16 are rounded, beside the weight's own: one word for both states of an
/// element, the first takes its upper half.
HONE_HOST_DEVICE constexpr std::uint64_t state_stream(std::uint64_t offset) { return ~offset; }

/// Elements SumOfSquares adds up in one partial sum: fixed, so that the norm is the same bits everywhere.
inline constexpr std::int64_t sum_of_squares_block = 65536;
constexpr std::int64_t sum_of_squares_blocks(std::int64_t elements) { return ceil_div(elements, sum_of_squares_block); }
template <class T, class G>
std::int64_t sum_of_squares_blocks(std::span<const OptimizedView<T, G>> parameters) {
  std::int64_t blocks = 0;
  for (const auto& one : parameters) blocks += sum_of_squares_blocks(one.gradient.extent(0));
  return blocks;
}

}  // namespace hone
