#include <hone/kernels/fill_random.cuh>

namespace hone {

template <class T>
void fill_random(Cuda& device, View<T, 1> x) {
  run(Tag<kernel::FillUniform>{}, device, x, 1u, 2u, 1.0f, 0.0f);
  run(Tag<kernel::FillNormal>{}, device, x, 1u, 2u, 1.0f, 0.0f);
}
template void fill_random(Cuda&, View<float, 1>);
template void fill_random(Cuda&, View<bf16, 1>);

}  // namespace hone
