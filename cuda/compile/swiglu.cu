#include <hone/kernels/swiglu.cuh>

namespace hone {

template <class T>
void swiglu(Cuda& device, View<T, 2> x) {
  run(Tag<kernel::SwigluForward>{}, device, x, x);
  run(Tag<kernel::SwigluBackward>{}, device, x, x, x, false);
}
template void swiglu(Cuda&, View<float, 2>);
template void swiglu(Cuda&, View<bf16, 2>);

}  // namespace hone
