#include <hone/kernels/fill_copy.cuh>

namespace hone {

template <class A, class... B>
void copy_to(Cuda& device, View<A, 2> from, View<B, 2>... to) {
  (run(Tag<kernel::Copy>{}, device, View<const A, 2>(from), to, true), ...);
}

/// Losses are summed in double, and so is what their gradient slots copy.
void fill_copy(Cuda& device, View<float, 2> x, View<bf16, 2> y, View<double, 2> z) {
  run(Tag<kernel::Fill>{}, device, x, 0.0f);
  run(Tag<kernel::Fill>{}, device, y, bf16(0.0f));
  run(Tag<kernel::Fill>{}, device, z, 0.0);
  run(Tag<kernel::Fill>{}, device, View<std::uint8_t, 2>{}, std::uint8_t{0});
  copy_to(device, x, x, y, z);
  copy_to(device, y, x, y);
  copy_to(device, z, x, z);
}

}  // namespace hone
