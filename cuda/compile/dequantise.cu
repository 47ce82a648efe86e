#include <hone/kernels/dequantise.cuh>

namespace hone {

template <class T>
void dequantise(Cuda& device, View<const std::uint8_t, 1> codes, View<const float, 1> scales,
                View<const std::int8_t, 2> bytes, View<T, 2> y) {
  const View<T, 1> flat{y.data, {y.elements()}, 1};
  run(Tag<kernel::DequantiseNf4>{}, device, codes, scales, flat);
  run(Tag<kernel::DequantiseNf4Nested>{}, device, codes, codes, scales, scales, scales, flat);
  run(Tag<kernel::DequantiseInt8>{}, device, bytes, scales, y);
}
template void dequantise(Cuda&, View<const std::uint8_t, 1>, View<const float, 1>, View<const std::int8_t, 2>,
                         View<float, 2>);
template void dequantise(Cuda&, View<const std::uint8_t, 1>, View<const float, 1>, View<const std::int8_t, 2>,
                         View<bf16, 2>);

}  // namespace hone
