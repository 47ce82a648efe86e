// A sum in order, in double: small, exact enough to report, equal for any number of threads.
#pragma once

#include <hone/tensor/kernel.hpp>

namespace hone {

namespace kernel {
struct SumInOrder;
}  // namespace kernel

/// total[0] = x[0] + x[1] + ...
template <class S>
void run(Tag<kernel::SumInOrder>, Cpu&, View<const S, 1> x, View<double, 1> total) {
  double sum = 0;
  for (std::int64_t i = 0; i < x.extent(0); ++i) sum += static_cast<double>(x(i));
  total(0) = sum;
}

}  // namespace hone
