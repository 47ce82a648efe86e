#include <hone/kernels/optimizer.cuh>

namespace hone {

template <class T, class G>
void optimizer() {
  Cuda device(gpu::cuda_driver(), gpu::cuda_target(80));  // as a program would
  const std::span<const OptimizedView<T, G>> parameters;
  run(Tag<kernel::AdamWStep>{}, device, AdamWScalars{}, View<StepNumbers, 1>{}, parameters);
  run(Tag<kernel::SgdStep>{}, device, SgdScalars{}, View<StepNumbers, 1>{}, parameters);
  run(Tag<kernel::SumOfSquares>{}, device, parameters, View<double, 1>{});
  run(Tag<kernel::BeginStep>{}, device, StepRule{}, View<double, 1>{}, View<StepNumbers, 1>{});
}
template void optimizer<float, float>();
template void optimizer<bf16, bf16>();
template void optimizer<bf16, float>();
template void optimizer<double, double>();

}  // namespace hone
