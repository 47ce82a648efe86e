// Times what the GEMM library offers for every shape, and keeps the fastest: done once, into a table that runs use.
// An algorithm is only taken when it repeats its bits and beats the first heuristic by more than clocks waver.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/function_ref.hpp>
#include <hone/tensor/gemm_tuning.hpp>
#include <hone/tensor/graph.hpp>
#include <hone/tensor/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::gpu {

struct TuneOptions {
  int rounds = 5;                 ///< each candidate is timed in every round; its median counts
  double round_milliseconds = 2;  ///< of one candidate, about
  double least_gain = 0.02;       ///< a candidate this much faster than the first heuristic is chosen
};

namespace detail {

/// The operands of one shape on a device.
template <Device D>
class TunedProduct {
 public:
  TunedProduct(const D& device, const GemmShape& shape)
      : device_(device),
        shape_(shape),
        a_(operand("a", shape.a_type, shape.transpose_a ? shape.k : shape.m, shape.lda)),
        b_(operand("b", shape.b_type, shape.transpose_b ? shape.n : shape.k, shape.ldb)),
        c_(operand("c", shape.c_type, shape.m, shape.ldc)),
        workspace_(bytes("gemm workspace", shape.workspace_bytes)) {
    fill_with_values(a_, shape.a_type);
    fill_with_values(b_, shape.b_type);
    fill(c_, 0);
  }

  /// False where the library has no such algorithm after all.
  bool multiply(std::string_view algorithm) const {
    const Driver& driver = device_.driver();
    const int status = driver.matmul({.shape = shape_,
                                      .a = a_.data(),
                                      .b = b_.data(),
                                      .c = c_.data(),
                                      .workspace = workspace_.data(),
                                      .algorithm = algorithm},
                                     device_.stream());
    if (status == not_supported) return false;
    succeed(driver, status, "matmul by the GEMM library");
    return true;
  }

  /// Whether two products from one c, with other bytes in the workspace, agree to the bit.
  bool repeats(std::string_view algorithm) const {
    const auto product = [&](int scratch) {
      fill(c_, 0);
      fill(workspace_, scratch);
      multiply(algorithm);
      return c_.to_vector();
    };
    return product(0) == product(0xff);
  }

  /// Milliseconds of one product, from `count` in a row.
  double time(std::string_view algorithm, int count) const {
    Event begin(device_), end(device_);
    begin.record(device_);
    for (int i = 0; i < count; ++i) multiply(algorithm);
    end.record(device_);
    end.wait();
    return static_cast<double>(end.since(begin)) / count;
  }

 private:
  using Bytes = Tensor<std::byte, D>;

  Bytes bytes(std::string_view name, std::int64_t count) const {
    return Bytes::empty(device_, {count}, {Category::workspace, name});
  }
  Bytes operand(std::string_view name, DType type, std::int64_t rows, std::int64_t stride) const {
    return bytes(name, checked_mul(checked_mul(rows, stride, name), size_of(type), name));
  }
  void fill(const Bytes& to, int byte) const {
    succeed(device_.driver(),
            device_.driver().fill(to.data(), byte, static_cast<std::size_t>(to.bytes()), device_.stream()), "fill");
  }

  /// Values between -1 and 1 of either sign, for the clock that a card can hold depends on the bits that switch.
  void fill_with_values(const Bytes& to, DType type) const {
    type == DType::bf16 ? fill_with<bf16>(to) : fill_with<float>(to);
  }
  template <class T>
  void fill_with(const Bytes& to) const {
    std::vector<T> values(std::size_t{1} << 18);
    std::uint32_t state = 1;  // Numerical Recipes' linear congruence
    for (T& value : values) {
      state = 1664525 * state + 1013904223;
      value = T(static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1.0f);
    }
    const auto all = static_cast<std::size_t>(to.bytes());
    for (std::size_t at = 0; at < all; at += values.size() * sizeof(T))
      copy_to_device(device_, to.data() + at, values.data(), std::min(values.size() * sizeof(T), all - at));
  }

  const D& device_;
  GemmShape shape_;
  Bytes a_, b_, c_, workspace_;
};

/// The candidates of one shape, the first heuristic (an empty name) before them, that run and repeat their bits.
template <Device D>
std::vector<std::string> candidates_of(const D& device, const TunedProduct<D>& product, const GemmShape& shape) {
  std::vector<std::string> names, out;
  succeed(device.driver(), device.driver().matmul_algorithms(&names, shape), "matmul_algorithms");
  names.insert(names.begin(), std::string());
  for (std::string& name : names)
    if (product.multiply(name) && (name.empty() || product.repeats(name))) out.push_back(std::move(name));
  return out;
}

/// The fastest of `names`, in rounds that go through all of them: a card that slows down slows all.
template <Device D>
GemmChoice fastest(const TunedProduct<D>& product, const std::vector<std::string>& names, const TuneOptions& options) {
  std::vector<std::vector<double>> times(names.size());
  const double once = std::max(product.time(names.front(), 2), 1e-3);
  const int count = static_cast<int>(std::clamp(options.round_milliseconds / once, 1.0, 1000.0));
  for (int round = 0; round < options.rounds; ++round)
    for (std::size_t i = 0; i < names.size(); ++i) times[i].push_back(product.time(names[i], count));
  const auto median = [](std::vector<double>& values) {
    std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
    return values[values.size() / 2];
  };
  const double first = median(times.front());
  GemmChoice best{{}, first, first};
  for (std::size_t i = 1; i < names.size(); ++i)
    if (const double own = median(times[i]); own < best.milliseconds && own < first * (1 - options.least_gain))
      best = {names[i], own, first};
  return best;
}

}  // namespace detail

/// Hears of a shape that was timed: its choice, and how many candidates there were; 0 where there was no memory for the
/// shape's operands.
using TuneReport = FunctionRef<void(const GemmShape&, const GemmChoice&, std::size_t)>;

/// Times the algorithms of each of `shapes` on a device that has a GEMM library, a shape at a time: its operands take
/// memory of the device meanwhile. Shapes that the library has no algorithm for are left out, and so are those that the
/// device has no memory for.
template <Device D>
GemmTuning tune_gemms(const D& device, const std::set<GemmShape>& shapes, const TuneOptions& options,
                      TuneReport report) {
  const Driver& driver = device.driver();
  check(driver.matmul_algorithms != nullptr, "[tune] this device has no GEMM library whose algorithms could be timed");
  GemmTuning out;
  succeed(driver, driver.matmul_origin(&out.origin), "matmul_origin");
  // Large ones first: what the memory keeps of their operands does for smaller ones. The other way round each larger
  // shape would want new blocks, and no old one would ever go back to the card.
  for (auto at = shapes.rbegin(); at != shapes.rend(); ++at) {
    const GemmShape& shape = *at;
    try {
      const detail::TunedProduct<D> product(device, shape);
      const auto names = detail::candidates_of(device, product, shape);
      if (names.empty() || !names.front().empty()) continue;
      const GemmChoice choice = detail::fastest(product, names, options);
      report(shape, choice, names.size());
      out.choices.emplace(shape, choice);
    } catch (const OutOfMemory&) {
      report(shape, {}, 0);  // hours of other shapes are not lost with it
    }
  }
  return out;
}

/// "NVIDIA H100 80GB HBM3 (sm_90), driver 13.0, cuBLASLt 130100".
inline std::string words_of(const GemmOrigin& origin) {
  return fmt::format("{} (sm_{}), driver {}.{}, {}", origin.card, origin.sm, origin.driver / 1000,
                     origin.driver % 1000 / 10, origin.library);
}

/// From now on `device` multiplies as `tuning` says. An Error, opening with `source` (a file name), when it was made
/// for another card, driver or library, or names an algorithm that the library does not offer.
template <Device D>
void use_gemm_tuning(const D& device, GemmTuning tuning, std::string_view source) {
  const Driver& driver = device.driver();
  check(driver.matmul_algorithms != nullptr, "[{}] chooses algorithms of a GEMM library, and this device has none",
        source);
  GemmOrigin here;
  succeed(driver, driver.matmul_origin(&here), "matmul_origin");
  check(tuning.origin == here, "[{}] was made on {}, and this is {}: run hone tune here", source,
        words_of(tuning.origin), words_of(here));
  std::vector<std::string> names;
  for (const auto& [shape, choice] : tuning.choices) {
    if (choice.algorithm.empty()) continue;
    names.clear();
    succeed(driver, driver.matmul_algorithms(&names, shape), "matmul_algorithms");
    check(std::ranges::find(names, choice.algorithm) != names.end(),
          "[{}] names the algorithm '{}' for the product of {} x {} x {}, and the library does not offer it: run hone "
          "tune again",
          source, choice.algorithm, shape.m, shape.n, shape.k);
  }
  device.set_gemm_tuning(std::make_shared<const GemmTuning>(std::move(tuning)));
}

}  // namespace hone::gpu
