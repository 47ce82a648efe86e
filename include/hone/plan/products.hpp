// The matrix products of a training run, from its own step on Meta: what `hone tune` times.
#pragma once

#include <hone/plan/plan.hpp>

#include <algorithm>
#include <cstdint>
#include <set>

namespace hone {

/// The products that a run of `config`, whose policy computes in T, asks of a GEMM library on `target`. A batch that
/// supervises fewer tokens than it holds has a last chunk of logits with a shape of its own, which is not among them.
template <class T>
std::set<gpu::GemmShape> products_of_training(const PlanConfig& config, const Target& target) {
  detail::MetaRun<T> run(config, target);
  const BatchSizes sizes = batch_sizes(config);
  std::set<gpu::GemmShape> out = run.products_of([&] {
    for (const std::int64_t tokens : sizes.train) {
      // The first batch of a step writes its gradients, every further one adds to them.
      for (std::int64_t batch = 0; batch < std::min<std::int64_t>(config.gradient_accumulation_steps, 2); ++batch)
        run.train(tokens);
      run.update();
    }
    for (const std::int64_t tokens : sizes.evaluate) run.evaluate(tokens);
  });
  std::erase_if(out, [](const gpu::GemmShape& shape) { return !gpu::is_for_library(shape); });
  return out;
}

/// The same for any policy. Throws an Error that names the first number no run can have.
inline std::set<gpu::GemmShape> training_products(const PlanConfig& config, const Target& target) {
  validate(config);
  return detail::with_compute_type(config.step.policy,
                                   [&]<class T>() { return products_of_training<T>(config, target); });
}

#if defined(HONE_COMPILED)
extern template std::set<gpu::GemmShape> products_of_training<float>(const PlanConfig&, const Target&);
extern template std::set<gpu::GemmShape> products_of_training<bf16>(const PlanConfig&, const Target&);
#endif

}  // namespace hone
