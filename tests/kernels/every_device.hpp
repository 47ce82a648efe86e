// One test body for every device: types that pair a device with an element type, bounds on the error against fp64, and
// the emulator's thread orders, which must not show in any bit.
#pragma once

#include "support/compare.hpp"
#include "support/random.hpp"

#include <hone/cuda.hpp>
#include <hone/emu/settings.hpp>
#include <hone/tensor/device.hpp>
#include <hone/tensor/tensor.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace hone::test {

/// What doctest's typed tests run over.
template <class D, class E>
struct On {
  using Device = D;
  using Element = E;
};

/// A device whose new memory is NaN, so that an element nobody writes is seen, and whose tensors lie apart, so that the
/// address sanitizer sees who leaves one. The emulator stands for a card of compute capability `sm`.
template <class D>
D poisoned_device([[maybe_unused]] int sm = 80) {
  const D device = [&] {
    if constexpr (std::is_same_v<D, Emu>)
      return Emu(Target{.kind = DeviceKind::emu, .alignment = 256, .sm = sm, .redzone = 256});
    else if constexpr (std::is_same_v<D, Cpu>)
      return Cpu(Cpu::Options{.threads = 2});
    else
      return open_card();
  }();
  device.memory().poison_new_blocks(true);
  return device;
}

/// Bounds for results that were rounded to T a few times. 2^-9 is half a step of bf16; a float result carries the error
/// of fp32 sums over some thousand terms.
template <class T>
Verdict near(const std::vector<double>& got, const std::vector<double>& wanted, const std::string& what) {
  constexpr bool half = std::is_same_v<T, bf16>;
  constexpr double nmse_bound = half ? 1.6e-5 : 1e-11, element_bound = half ? 1.2e-2 : 2e-5;
  if (wanted.empty()) return {got.empty(), what + ": got values, wanted none"};
  double power = 0;
  for (const double value : wanted) power += value * value;
  const double rms = std::sqrt(power / static_cast<double>(wanted.size()));
  const Distance all = distance(got, wanted);
  if (!(all.nmse <= nmse_bound))
    return {false, fmt::format("{}: NMSE {:.3g}, at most {:.3g} wanted (worst element {})", what, all.nmse, nmse_bound,
                               all.worst_at)};
  return close(got, wanted, Shape{static_cast<std::int64_t>(wanted.size())}, element_bound * rms, element_bound, what);
}

/// Runs body(), which returns numbers; on the emulator in all three orders, whose bits must agree.
template <class D, class Body>
std::vector<double> in_every_order(Body&& body) {
  const std::vector<double> first = body();
  if constexpr (std::is_same_v<D, Emu>) {
    for (const emulator::Settings& settings : {emulator::Settings{.order = emulator::Order::reversed},
                                               emulator::Settings{.order = emulator::Order::seeded, .seed = 17}}) {
      const emulator::WithSettings scope(settings);
      const std::vector<double> again = body();
      check(again.size() == first.size() && std::memcmp(again.data(), first.data(), first.size() * sizeof(double)) == 0,
            "the result depends on the order of threads");
    }
  }
  return first;
}

/// The elements of several tensors one after the other.
template <class... T>
std::vector<double> joined(const T&... tensors) {
  std::vector<double> out;
  const auto append = [&](const auto& tensor) {
    const std::vector<double> values = doubles(tensor);
    out.insert(out.end(), values.begin(), values.end());
  };
  (append(tensors), ...);
  return out;
}

/// Elements [begin, begin + count).
inline std::vector<double> part(const std::vector<double>& values, std::int64_t begin, std::int64_t count) {
  return {values.begin() + begin, values.begin() + begin + count};
}

/// A (rows, cols) tensor of random values that lies in a wider one, `offset` columns from its left edge.
template <class T, class D>
Tensor<T, D> random_slice(const D& device, std::int64_t rows, std::int64_t cols, std::int64_t offset,
                          std::uint64_t seed) {
  return random_tensor<T, D>({rows, cols + offset + 3}, seed, -1, 1, device).columns(offset, cols);
}

}  // namespace hone::test
