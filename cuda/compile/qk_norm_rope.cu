#include <hone/kernels/qk_norm_rope.cuh>

namespace hone {

template <class T>
void qk_norm_rope(Cuda& device, View<T, 2> x, View<T, 1> weight, View<float, 1> gradient, View<float, 2> rotation,
                  View<std::byte, 1> workspace) {
  run(Tag<kernel::QkNormRopeForward>{}, device, x, weight, 1e-6, rotation, x, rotation);
  run(Tag<kernel::QkNormRopeBackward>{}, device, x, x, weight, rotation, rotation, x, true, weight, true, workspace);
  run(Tag<kernel::QkNormRopeBackward>{}, device, x, x, weight, rotation, rotation, x, true, gradient, true, workspace);
}
template void qk_norm_rope(Cuda&, View<float, 2>, View<float, 1>, View<float, 1>, View<float, 2>, View<std::byte, 1>);
template void qk_norm_rope(Cuda&, View<bf16, 2>, View<bf16, 1>, View<float, 1>, View<float, 2>, View<std::byte, 1>);

}  // namespace hone
