#include <hone/kernels/rope.cuh>

namespace hone {

template <class T>
void rope(Cuda& device, View<T, 2> x, View<float, 2> rotation) {
  run(Tag<kernel::Rope>{}, device, x, rotation, true);
}
template void rope(Cuda&, View<float, 2>, View<float, 2>);
template void rope(Cuda&, View<bf16, 2>, View<float, 2>);

void rope_table(Cuda& device, View<std::int32_t, 1> positions, View<float, 1> frequencies, View<float, 2> table) {
  run(Tag<kernel::RopeTable>{}, device, positions, frequencies, table);
}

}  // namespace hone
