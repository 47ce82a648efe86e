#include <hone/kernels/dora.cuh>

namespace hone {

template <class T>
void dora(Cuda& device, View<T, 2> x, View<T, 1> bias, View<float, 2> narrow, View<float, 1> row) {
  run(Tag<kernel::RowSquares>{}, device, View<const T, 2>(x), row);
  run(Tag<kernel::DoraNorms>{}, device, row, narrow, narrow, narrow, 1.0, row);
  run(Tag<kernel::DoraForward>{}, device, View<const float, 1>(row), View<const float, 1>(row), bias, x, x);
  run(Tag<kernel::DoraMagnitudes>{}, device, View<const T, 2>(x), x, View<const float, 1>(row), row, false);
  run(Tag<kernel::DoraBackward>{}, device, View<const float, 1>(row), View<const float, 1>(row), x);
  run(Tag<kernel::DoraScaleRows>{}, device, View<const float, 1>(row), View<const float, 1>(row), x);
}
template void dora(Cuda&, View<float, 2>, View<float, 1>, View<float, 2>, View<float, 1>);
template void dora(Cuda&, View<bf16, 2>, View<bf16, 1>, View<float, 2>, View<float, 1>);

}  // namespace hone
