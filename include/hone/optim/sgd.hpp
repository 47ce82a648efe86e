// Stochastic gradient descent with momentum, with torch.optim.SGD's arithmetic.
//   g += wd w        b = mu b + g        w -= lr b
#pragma once

#include <hone/optim/optimizer.hpp>

#include <array>
#include <string_view>

namespace hone {

namespace kernel {
struct SgdStep {  ///< per element: 1 to scale g, 2 for the decay, 2 for w, and 2 for the momentum
  static double flops(const auto&, const auto&, const auto& parameters) {
    double out = 0;
    for (const auto& one : parameters) out += flops_per_element(elements_of(one.states[0]) > 0 ? 7 : 5, one.weight);
    return out;
  }
  static Traffic traffic(const auto&, const auto&, const auto& parameters) {
    return detail::traffic_of_step(parameters);
  }
};
}  // namespace kernel

struct SgdOptions {
  double learning_rate = 1e-3;
  double momentum = 0;
  double weight_decay = 0;
  bool decay_vectors = true;
  double max_grad_norm = 1.0;
  WeightUpdate update = WeightUpdate::plain;
  std::uint64_t seed = 0;
  std::int64_t offload_chunk = 0;  ///< see OptimizerOptions
};

struct SgdRule {
  double momentum;
  static constexpr std::array<const char*, 1> state_names = {"momentum_buffer"};
  std::size_t state_count() const { return momentum != 0 ? 1 : 0; }
  MomentType state_type(std::string_view) const { return MomentType::full; }
  StepRule rule(double max_grad_norm) const { return {.max_grad_norm = max_grad_norm}; }

  template <Device D, class T, class G>
  void apply(const D& device, const StepRounding& rounding, View<const StepNumbers, 1> numbers,
             std::span<const OptimizedView<T, G>> parameters) const {
    const SgdScalars scalars{.momentum = momentum, .stochastic_rounding = rounding.stochastic, .seed = rounding.seed};
    run_kernel<kernel::SgdStep>(device, scalars, numbers, parameters);
  }
};

/// SGD over a list of parameters.
template <Device D>
class Sgd : public Optimizer<D, SgdRule> {
 public:
  Sgd(ParameterList<D> parameters, const SgdOptions& options)
      : Optimizer<D, SgdRule>(std::move(parameters), SgdRule{options.momentum},
                              {options.learning_rate, options.weight_decay, options.decay_vectors,
                               options.max_grad_norm, options.update, options.seed, options.offload_chunk}) {}
};

}  // namespace hone
