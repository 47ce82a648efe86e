// New tensors: zeros, ones, full, arange, eye, and random ones from Philox.
#pragma once

#include <hone/autograd/fill_copy.hpp>
#include <hone/autograd/random.hpp>
#include <hone/core/checked.hpp>

#include <cmath>
#include <vector>

namespace hone {

namespace kernel {
struct FillUniform;
struct FillNormal;
}  // namespace kernel

/// A tensor of `shape` with every element `value`: `full<float>({2, 3}, 0.5f)`.
template <class T, Device D = Cpu>
Tensor<T, D> full(const Shape& shape, std::type_identity_t<T> value, const D& device = D{}, Label label = {}) {
  auto out = Tensor<T, D>::empty(device, shape, label);
  fill(out, value);
  return out;
}
template <class T, Device D = Cpu>
Tensor<T, D> zeros(const Shape& shape, const D& device = D{}, Label label = {}) {
  return full<T>(shape, T(0), device, label);
}
template <class T, Device D = Cpu>
Tensor<T, D> ones(const Shape& shape, const D& device = D{}, Label label = {}) {
  return full<T>(shape, T(1), device, label);
}

/// begin, begin + step, ... as far as below `end` (above, for a negative step).
template <class T, Device D = Cpu>
Tensor<T, D> arange(double begin, double end, double step = 1, const D& device = D{}) {
  const double count = std::ceil((end - begin) / step);
  check(step != 0 && std::isfinite(count), "[arange] from {} to {} by {} never ends", begin, end, step);
  std::vector<T> values(count > 0 ? static_cast<std::size_t>(count) : 0);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(begin + static_cast<double>(i) * step);
  return Tensor<T, D>::from(device, {static_cast<std::int64_t>(values.size())}, values);
}
template <class T, Device D = Cpu>
Tensor<T, D> arange(double end, const D& device = D{}) {
  return arange<T>(0, end, 1, device);
}

/// The identity matrix (n, n).
template <class T, Device D = Cpu>
Tensor<T, D> eye(std::int64_t n, const D& device = D{}) {
  std::vector<T> values(static_cast<std::size_t>(checked_mul(n, n, "[eye] element count")), T(0));
  for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(n) + 1) values[i] = T(1);
  return Tensor<T, D>::from(device, {n, n}, values);
}

namespace detail {
inline std::uint64_t known_seed(const RandomDraw& draw) {
  check(draw.seed.at == nullptr,
        "[random] a tensor of random numbers was asked of a generator whose seed the device has");
  return draw.seed.value;
}
}  // namespace detail

/// Normal numbers of the given mean and deviation. The same bits on every device for the same place in the generator.
template <class T, Device D = Cpu>
Tensor<T, D> randn(const Shape& shape, const D& device = D{}, float mean = 0, float deviation = 1,
                   Generator& generator = default_generator()) {
  static_assert(is_floating<T>, "randn makes floating types");
  auto out = Tensor<T, D>::empty(device, shape);
  const RandomDraw draw = generator.next(out.elements());
  run_kernel<kernel::FillNormal>(device, out.flat(), detail::known_seed(draw), draw.offset, deviation, mean);
  return out;
}

/// Numbers uniform on [low, high), in steps of (high - low) / 2^24.
template <class T, Device D = Cpu>
Tensor<T, D> uniform(const Shape& shape, const D& device = D{}, float low = 0, float high = 1,
                     Generator& generator = default_generator()) {
  static_assert(is_floating<T>, "uniform makes floating types");
  auto out = Tensor<T, D>::empty(device, shape);
  const RandomDraw draw = generator.next(out.elements());
  run_kernel<kernel::FillUniform>(device, out.flat(), detail::known_seed(draw), draw.offset, high - low, low);
  return out;
}

}  // namespace hone
