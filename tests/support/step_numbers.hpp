// The numbers that optimizer kernels read, as BeginStep would have left them.
#pragma once

#include <hone/tensor/optimizer_scalars.hpp>

namespace hone::test {

struct StepOf {
  double learning_rate = 1e-3;
  std::int64_t step = 1;
  double gradient_scale = 1;
};

/// Those of AdamW with these betas; SGD asks for none.
inline StepNumbers step_numbers(const StepOf& of, double beta1 = 0.9, double beta2 = 0.999) {
  StepNumbers out;
  out.input.learning_rate = of.learning_rate;
  out.step = of.step - 1;
  begin_step(out, {beta1, beta2, 0}, 1.0);
  out.gradient_scale = of.gradient_scale;
  return out;
}

}  // namespace hone::test
