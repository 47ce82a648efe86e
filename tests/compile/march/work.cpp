// A forward and a backward pass through the engine, compiled once per -march (see tools/lib/slow_checks.sh). Inline
// functions of both objects have the same names, so the linker keeps one copy of each.
#include <hone/engine.hpp>

#include <bit>
#include <cstdint>

namespace {

std::uint64_t mixed(std::uint64_t hash, const hone::Tensor<float>& tensor) {
  for (const float value : tensor.to_vector()) hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3u;
  return hash;
}

hone::Tensor<float> random_tensor(const hone::Cpu& device, const hone::Shape& shape, std::uint64_t stream) {
  auto out = hone::Tensor<float>::empty(device, shape);
  hone::fill_normal(out, 1.0, 1, stream);
  return out.require_grad();
}

}  // namespace

/// A hash of every bit of the results, on the CPU path `isa`.
std::uint64_t HONE_WORK(hone::Isa isa) {
  const hone::Cpu device({.threads = 2, .isa = isa, .redzone = 0});
  auto x = random_tensor(device, {37, 64}, 1), norm = random_tensor(device, {64}, 2);
  auto gate_up = random_tensor(device, {2 * 48, 64}, 3), down = random_tensor(device, {64, 48}, 4);
  const auto y = hone::linear(hone::swiglu(hone::linear(hone::rms_norm(x, norm, 1e-5), gate_up)), down);
  const auto z = hone::mean(hone::exp(hone::tanh(x + y)));
  z.backward();
  std::uint64_t hash = mixed(mixed(0xcbf29ce484222325u, y), z);
  for (const auto* input : {&x, &norm, &gate_up, &down}) hash = mixed(hash, input->gradient());
  return hash;
}
