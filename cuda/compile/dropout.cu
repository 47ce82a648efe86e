#include <hone/kernels/dropout.cuh>

namespace hone {

template <class T>
void dropout(Cuda& device, View<T, 2> x) {
  run(Tag<kernel::Dropout>{}, device, x, 0.1, 1u, 2u, x, true);
}
template void dropout(Cuda&, View<float, 2>);
template void dropout(Cuda&, View<bf16, 2>);

}  // namespace hone
