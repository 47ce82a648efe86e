#include <hone/kernels/matmul.cuh>

namespace hone {

/// Every pair of factors that holds an A, into either type.
template <class A, class B>
void matmul(Cuda& device, View<A, 2> a, View<B, 2> b, View<std::byte, 1> workspace) {
  const auto product = [&](auto left, auto right) {
    run(Tag<kernel::MatMul>{}, device, MatMulOptions{}, left, right, a, workspace);
    run(Tag<kernel::MatMul>{}, device, MatMulOptions{}, left, right, b, workspace);
  };
  product(View<const A, 2>(a), View<const A, 2>(a));
  product(View<const A, 2>(a), View<const B, 2>(b));
}
template void matmul(Cuda&, View<float, 2>, View<bf16, 2>, View<std::byte, 1>);
template void matmul(Cuda&, View<bf16, 2>, View<float, 2>, View<std::byte, 1>);

}  // namespace hone
