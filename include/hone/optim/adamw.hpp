// AdamW (Loshchilov and Hutter, 2019), with torch.optim.AdamW's arithmetic.
//   w -= lr wd w        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
#pragma once

#include <hone/optim/optimizer.hpp>

#include <array>
#include <string_view>

namespace hone {

namespace kernel {
struct AdamWStep {  ///< per element: 1 to scale g, 3 for m, 4 for v, 7 for w; 2 for a moment of 8 bits, in and out
  static double flops(const auto&, const auto&, const auto& parameters) {
    double out = 0;
    for (const auto& one : parameters)
      out += flops_per_element(std::holds_alternative<BlockwiseView>(one.states[0]) ? 19 : 15, one.weight);
    return out;
  }
  static Traffic traffic(const auto&, const auto&, const auto& parameters) {
    return detail::traffic_of_step(parameters);
  }
};
}  // namespace kernel

struct AdamWOptions {
  double learning_rate = 2e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool decay_vectors = true;
  double max_grad_norm = 1.0;
  WeightUpdate update = WeightUpdate::plain;
  std::uint64_t seed = 0;
  std::int64_t offload_chunk = 0;  ///< see OptimizerOptions
  MomentType moments = MomentType::full;
};

struct AdamWRule {
  double beta1, beta2, epsilon;
  MomentType moments;
  static constexpr std::array<const char*, 2> state_names = {"exp_avg", "exp_avg_sq"};
  std::size_t state_count() const { return 2; }
  /// Embeddings keep 32 bits where others have 8, as Hugging Face's Trainer has it: most of their rows get no gradient
  /// in a step, and a block of 256 would share its scale with rows that do.
  MomentType state_type(std::string_view name) const {
    const bool kept_whole = moments == MomentType::blockwise_8bit && name.ends_with("embed_tokens.weight");
    return kept_whole ? MomentType::full : moments;
  }
  StepRule rule(double max_grad_norm) const { return {beta1, beta2, max_grad_norm}; }

  template <Device D, class T, class G>
  void apply(const D& device, const StepRounding& rounding, View<const StepNumbers, 1> numbers,
             std::span<const OptimizedView<T, G>> parameters) const {
    const AdamWScalars scalars{beta1, beta2, epsilon, rounding.stochastic, rounding.seed};
    run_kernel<kernel::AdamWStep>(device, scalars, numbers, parameters);
  }
};

/// AdamW over a list of parameters: `AdamW optimizer(model.trainable_parameters(), {.learning_rate = 2e-4});`
template <Device D>
class AdamW : public Optimizer<D, AdamWRule> {
 public:
  AdamW(ParameterList<D> parameters, const AdamWOptions& options)
      : Optimizer<D, AdamWRule>(std::move(parameters),
                                AdamWRule{options.beta1, options.beta2, options.epsilon, options.moments},
                                {options.learning_rate, options.weight_decay, options.decay_vectors,
                                 options.max_grad_norm, options.update, options.seed, options.offload_chunk}) {}
};

}  // namespace hone
