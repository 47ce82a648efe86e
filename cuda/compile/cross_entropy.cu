#include <hone/kernels/cross_entropy.cuh>

namespace hone {

void cross_entropy(Cuda& device, View<float, 2> logits, View<std::int32_t, 1> targets, View<float, 1> losses) {
  run(Tag<kernel::CrossEntropy>{}, device, logits, targets, losses, true, 1.0);
}

}  // namespace hone
