#include <hone/kernels/bias.cuh>

namespace hone {

template <class T>
void bias(Cuda& device, View<T, 2> x, View<T, 1> b, View<float, 1> gradient) {
  run(Tag<kernel::AddBias>{}, device, b, x);
  run(Tag<kernel::SumOfRows>{}, device, View<const T, 2>(x), b, false);
  run(Tag<kernel::SumOfRows>{}, device, View<const T, 2>(x), gradient, false);
}
template void bias(Cuda&, View<float, 2>, View<float, 1>, View<float, 1>);
template void bias(Cuda&, View<bf16, 2>, View<bf16, 1>, View<float, 1>);

}  // namespace hone
