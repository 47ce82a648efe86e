// Random initialisation: Philox numbers by element index, so that a seed gives the same weights on every machine.
#pragma once

#include <hone/autograd/fill_copy.hpp>
#include <hone/core/philox.hpp>
#include <hone/cpu/fill_random.hpp>
#include <hone/nn/linear.hpp>
#include <hone/nn/quantise.hpp>
#include <hone/tensor/tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace hone {

namespace kernel {
struct FillNormal;
struct FillUniform;
}  // namespace kernel

/// The random stream that belongs to a name (FNV-1a): a weight's numbers do not depend on the weights around it.
constexpr std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

/// Independent normals of mean 0.
template <class T, Device D>
void fill_normal(const Tensor<T, D>& out, double standard_deviation, std::uint64_t seed, std::uint64_t stream) {
  run_kernel<kernel::FillNormal>(out.device(), out.flat(), seed, stream, static_cast<float>(standard_deviation), 0.0f);
}

/// Independent uniforms on [-bound, bound).
template <class T, Device D>
void fill_uniform(const Tensor<T, D>& out, double bound, std::uint64_t seed, std::uint64_t stream) {
  const auto edge = static_cast<float>(bound);
  run_kernel<kernel::FillUniform>(out.device(), out.flat(), seed, stream, 2 * edge, -edge);
}

/// A fresh model, as transformers makes it: matrices normal with standard deviation 0.02, norms 1, biases 0. `Model`
/// has visit(f(name, tensor)). Quantised linears store such normals as near as they can.
template <class Model>
void initialise(Model& model, std::uint64_t seed, double standard_deviation = 0.02) {
  model.visit([&](const std::string& name, auto& weight) {
    using T = typename std::decay_t<decltype(weight)>::Element;
    if (weight.rank() > 1) return fill_normal(weight, standard_deviation, seed, stream_of(name));
    fill(weight, name.ends_with(".bias") ? T(0.0f) : T(1.0f));
  });
  visit_quantised(model, [&](const std::string& module, const auto& weight) {
    const std::string name = module + ".weight";
    const Cpu apart(Cpu::Options{.threads = 1});  // normals are equal everywhere; the model's device holds no dense one
    const auto dense = Tensor<float, Cpu>::empty(apart, weight.shape());
    fill_normal(dense, standard_deviation, seed, stream_of(name));
    const auto read = [&](std::int64_t begin, std::int64_t count, float* out) {
      std::copy_n(dense.data() + begin, count, out);
    };
    quantise(read, weight, name);
  });
}

}  // namespace hone
