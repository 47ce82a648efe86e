#include <hone/kernels/activation.cuh>

namespace hone {

void activation(Cuda& device, View<float, 2> x) {
  run(Tag<kernel::ActivationForward>{}, device, Activation::gelu, x, x);
  run(Tag<kernel::ActivationBackward>{}, device, Activation::gelu, x, x, x, true);
}

}  // namespace hone
