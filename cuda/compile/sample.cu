#include <hone/kernels/sample.cuh>

namespace hone {

void sample(Cuda& device, View<const float, 2> logits, View<std::uint8_t, 1> seen, View<std::int32_t, 1> id,
            View<std::byte, 1> workspace) {
  run(Tag<kernel::Sample>{}, device, logits, SamplingRule{}, seen, id, workspace);
}

}  // namespace hone
