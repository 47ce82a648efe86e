#include <hone/kernels/embedding.cuh>

namespace hone {

template <class T>
void embedding(Cuda& device, View<std::int32_t, 1> ids, View<T, 2> x, View<float, 2> f, View<bf16, 2> h) {
  run(Tag<kernel::EmbeddingForward>{}, device, ids, x, x);
  run(Tag<kernel::EmbeddingBackward>{}, device, ids, View<const T, 2>(x), f, false);
  run(Tag<kernel::EmbeddingBackward>{}, device, ids, View<const T, 2>(x), h, false);
}
template void embedding(Cuda&, View<std::int32_t, 1>, View<float, 2>, View<float, 2>, View<bf16, 2>);
template void embedding(Cuda&, View<std::int32_t, 1>, View<bf16, 2>, View<float, 2>, View<bf16, 2>);

}  // namespace hone
