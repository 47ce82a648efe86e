#include <hone/kernels/rms_norm.cuh>

namespace hone {

template <class T>
void rms_norm(Cuda& device, View<T, 2> x, View<T, 1> weight, View<float, 1> rstd, View<std::byte, 1> workspace) {
  run(Tag<kernel::RmsNormForward>{}, device, x, weight, 1e-6, x, rstd);
  run(Tag<kernel::AddRmsNormForward>{}, device, x, x, weight, 1e-6, x, x, rstd);
  run(Tag<kernel::RmsNormBackward>{}, device, x, x, weight, rstd, x, false, weight, false, workspace);
  run(Tag<kernel::RmsNormBackward>{}, device, x, x, weight, rstd, x, false, rstd, false, workspace);
}
template void rms_norm(Cuda&, View<float, 2>, View<float, 1>, View<float, 1>, View<std::byte, 1>);
template void rms_norm(Cuda&, View<bf16, 2>, View<bf16, 1>, View<float, 1>, View<std::byte, 1>);

}  // namespace hone
