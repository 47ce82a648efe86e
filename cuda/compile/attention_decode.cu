#include <hone/kernels/attention_decode.cuh>

namespace hone {

template <class T>
void attention_decode(Cuda& device, View<T, 2> x, View<std::int32_t, 1> ends, View<std::byte, 1> workspace) {
  run(Tag<kernel::AttentionDecode>{}, device, AttentionShape{}, x, x, x, ends, ends, x, workspace);
}
template void attention_decode(Cuda&, View<float, 2>, View<std::int32_t, 1>, View<std::byte, 1>);
template void attention_decode(Cuda&, View<bf16, 2>, View<std::int32_t, 1>, View<std::byte, 1>);

}  // namespace hone
