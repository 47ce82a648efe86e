// What data-parallel training exchanges: summed gradients and summed token counts, nothing else.
#pragma once

#include <hone/tensor/tensor.hpp>

#include <concepts>
#include <cstdint>

namespace hone {

/// One process among size(). sum() replaces a value, or a tensor's elements, by the sum over all processes.
template <class C>
concept Communicator = requires(C& communicator, std::int64_t& count, double& value, const Tensor<float, Cpu>& tensor) {
  { communicator.rank() } -> std::convertible_to<int>;
  { communicator.size() } -> std::convertible_to<int>;
  communicator.sum(count);
  communicator.sum(value);
  communicator.sum(tensor);
};

/// The only process: sums are what they are.
struct Self {
  int rank() const { return 0; }
  int size() const { return 1; }
  void sum(std::int64_t&) const {}
  void sum(double&) const {}
  template <class T, Device D>
  void sum(const Tensor<T, D>&) const {}
};
static_assert(Communicator<Self>);

}  // namespace hone
