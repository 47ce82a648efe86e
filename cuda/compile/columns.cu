#include <hone/kernels/columns.cuh>

namespace hone {

template <class T>
void columns(Cuda& device, View<T, 2> x, View<float, 1> numbers) {
  const View<const float, 1> in(numbers);
  run(Tag<kernel::ScaleColumns>{}, device, x, in, x, true);
  run(Tag<kernel::AddColumns>{}, device, in, 1.0, x);
  run(Tag<kernel::SumOfProducts>{}, device, View<const T, 2>(x), x, 1.0, numbers, false);
}
template void columns(Cuda&, View<float, 2>, View<float, 1>);
template void columns(Cuda&, View<bf16, 2>, View<float, 1>);

}  // namespace hone
