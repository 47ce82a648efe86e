// A GEMM library for the emulated driver's table that multiplies nothing: what tuning sees of one is which algorithms
// it names, how long they take and whether they repeat their bits, and all of that a test states here.
#pragma once

#include <hone/tensor/emulated_driver.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hone::test {

/// How an algorithm behaves.
enum class Repeats {
  always,
  never,           ///< every product has other bits
  with_workspace,  ///< the bits are those that lay in the workspace
  absent,          ///< it is listed, and refuses the product
};

struct TimedAlgorithm {
  std::string name;
  double milliseconds = 1;
  Repeats repeats = Repeats::always;
};

/// While one lives, the emulated driver has a GEMM library of these algorithms, its first heuristic takes
/// `first_milliseconds`, and events tell a time that products alone let pass. Products of `refused` columns it refuses.
class TimedLibrary {
 public:
  explicit TimedLibrary(std::vector<TimedAlgorithm> algorithms, double first_milliseconds = 1, std::int64_t refused = 0)
      : before_(gpu::emulated_driver()) {
    state() = {};
    state().algorithms = std::move(algorithms);
    state().first = {{}, first_milliseconds};
    state().refused = refused;
    gpu::Driver& driver = gpu::emulated_driver();
    driver.matmul = [](const gpu::MatMulCall& call, void*) { return multiply(call); };
    driver.matmul_algorithms = [](std::vector<std::string>* out, const gpu::GemmShape&) {
      for (const TimedAlgorithm& one : state().algorithms) out->push_back(one.name);
      return 0;
    };
    driver.matmul_origin = [](gpu::GemmOrigin* out) {
      *out = origin();
      return 0;
    };
    driver.record_event = [](void* event, void*) {
      static_cast<gpu::detail::EmulatedEvent*>(event)->at = std::chrono::steady_clock::time_point(
          std::chrono::duration_cast<std::chrono::steady_clock::duration>(state().clock));
      return 0;
    };
  }
  ~TimedLibrary() { gpu::emulated_driver() = before_; }
  TimedLibrary(const TimedLibrary&) = delete;
  TimedLibrary& operator=(const TimedLibrary&) = delete;

  static gpu::GemmOrigin origin() { return {"Emulated card", 80, 13000, "Timed 1"}; }
  /// What products were asked for, and by which names, in order.
  static const std::set<gpu::GemmShape>& shapes() { return state().shapes; }
  static const std::vector<std::string>& names() { return state().names; }

 private:
  struct State {
    std::vector<TimedAlgorithm> algorithms = {};
    TimedAlgorithm first = {};
    std::int64_t refused = 0;
    std::chrono::duration<double, std::milli> clock{0};
    std::set<gpu::GemmShape> shapes = {};
    std::vector<std::string> names = {};
    int products = 0;
  };
  static State& state() {
    static State value;
    return value;
  }

  static int multiply(const gpu::MatMulCall& call) {
    State& now = state();
    now.shapes.insert(call.shape);
    now.names.emplace_back(call.algorithm);
    const auto found = std::ranges::find(now.algorithms, call.algorithm, &TimedAlgorithm::name);
    const TimedAlgorithm& used = found == now.algorithms.end() ? now.first : *found;
    if (call.shape.n == now.refused || used.repeats == Repeats::absent) return gpu::not_supported;
    now.clock += std::chrono::duration<double, std::milli>(used.milliseconds);
    int value = 0;
    if (used.repeats == Repeats::never) value = ++now.products;
    if (used.repeats == Repeats::with_workspace) value = *static_cast<const unsigned char*>(call.workspace);
    const auto element = static_cast<std::int64_t>(size_of(call.shape.c_type));
    for (std::int64_t row = 0; row < call.shape.m; ++row)
      std::memset(static_cast<std::byte*>(call.c) + row * call.shape.ldc * element, value,
                  static_cast<std::size_t>(call.shape.n * element));
    return 0;
  }

  gpu::Driver before_;
};

}  // namespace hone::test
