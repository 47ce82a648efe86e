// hone::compiled: what plans instantiate, compiled once for all files of a program that link it.
#include <hone/plan/products.hpp>

namespace hone {

template Plan plan_training<float>(const PlanConfig&, const Target&);
template Plan plan_training<bf16>(const PlanConfig&, const Target&);
template std::int64_t peak_of_training<float>(const PlanConfig&, const Target&);
template std::int64_t peak_of_training<bf16>(const PlanConfig&, const Target&);
template Phase plan_generation<float>(const PlanConfig&, const Target&);
template Phase plan_generation<bf16>(const PlanConfig&, const Target&);
template GenerationWork work_of_generation<float>(const PlanConfig&, const Target&, std::int64_t, std::int64_t);
template GenerationWork work_of_generation<bf16>(const PlanConfig&, const Target&, std::int64_t, std::int64_t);
template std::set<gpu::GemmShape> products_of_training<float>(const PlanConfig&, const Target&);
template std::set<gpu::GemmShape> products_of_training<bf16>(const PlanConfig&, const Target&);

}  // namespace hone
