// The sum of a vector in double, for losses that are reported.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/convert.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>

namespace hone {

namespace kernel {
struct SumInOrder;
}

inline namespace HONE_TARGET {

inline constexpr int sum_threads = 256;

struct SumShared {
  double of_thread[sum_threads];
};

/// The sum of x, by a block of sum_threads; thread 0 is told. Thread t adds x[t], x[t + 256], ...; then halves are
/// added until one is left: an order that n alone decides.
template <class S>
__device__ double sum_by_block(SumShared& shared, const S* x, std::int64_t count) {
  const int me = thread_index();
  double sum = 0;
  for (std::int64_t i = me; i < count; i += sum_threads) sum += widened<double>(load(x + i));
  shared.of_thread[me] = sum;
  __syncthreads();
  for (int half = sum_threads / 2; half > 0; half /= 2) {
    if (me < half) shared.of_thread[me] += shared.of_thread[me + half];
    __syncthreads();
  }
  return shared.of_thread[0];
}

template <class S>
__global__ void __launch_bounds__(sum_threads) sum_kernel(const S* x, std::int64_t count, double* total) {
  const double sum = sum_by_block(shared_memory<SumShared>(), x, count);
  if (thread_index() == 0) store(total, sum);
}

/// total[0] = x[0] + x[1] + ..., in double.
template <class S>
void run(Tag<kernel::SumInOrder>, KernelDevice& device, View<const S, 1> x, View<double, 1> total) {
  check(x.packed(), "[sum] x must be packed");
  launch(device, "sum", shape_for(sum_threads, sum_threads, sizeof(SumShared)), &sum_kernel<S>, x.data, x.extent(0),
         total.data);
}

}  // namespace HONE_TARGET
}  // namespace hone
