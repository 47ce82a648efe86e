// A driver table in which call number n fails: for tests that walk n through a whole run. It counts what is open, too.
#pragma once

#include <hone/tensor/emulated_driver.hpp>

#include <cstdint>

namespace hone::test {

/// While one lives, the emulated driver's calls are counted and number `failing` (from 0; -1: none) answers `status`
/// and does nothing. Calls that give something back are counted but do not fail: nobody could be told.
class Faults {
 public:
  explicit Faults(std::int64_t failing, int status = 719) : before_(gpu::emulated_driver()) {
    state() = {before_, failing, status, 0, 0};
    install<&gpu::Driver::allocate, 1>();
    install<&gpu::Driver::release, -1>();
    install<&gpu::Driver::allocate_pinned, 1>();
    install<&gpu::Driver::release_pinned, -1>();
    install<&gpu::Driver::copy, 0>();
    install<&gpu::Driver::fill, 0>();
    install<&gpu::Driver::create_stream, 1>();
    install<&gpu::Driver::destroy_stream, -1>();
    install<&gpu::Driver::synchronize, 0>();
    install<&gpu::Driver::create_event, 1>();
    install<&gpu::Driver::destroy_event, -1>();
    install<&gpu::Driver::record_event, 0>();
    install<&gpu::Driver::wait_event, 0>();
    install<&gpu::Driver::synchronize_event, 0>();
    install<&gpu::Driver::begin_capture, 0>();
    install<&gpu::Driver::end_capture, 1>();
    install<&gpu::Driver::instantiate, 1>();
    install<&gpu::Driver::launch_graph, 0>();
    install<&gpu::Driver::destroy_graph, -1>();
    install<&gpu::Driver::destroy_executable, -1>();
    install<&gpu::Driver::launch, 0>();
    install<&gpu::Driver::most_threads, 0>();
    install<&gpu::Driver::encode_tiles, 0>();
  }
  ~Faults() { gpu::emulated_driver() = before_; }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  /// Calls so far that could have failed.
  static std::int64_t calls() { return state().calls; }
  /// Blocks of memory, streams, events, graphs that were not given back.
  static std::int64_t open() { return state().open; }

 private:
  struct State {
    gpu::Driver real;
    std::int64_t failing = -1;
    int status = 0;
    std::int64_t calls = 0, open = 0;
  };
  static State& state() {
    static State value;
    return value;
  }

  template <auto Member, int Opens, class... Args>
  static int counted(Args... args) {
    State& now = state();
    if (Opens >= 0 && now.calls++ == now.failing) return now.status;
    const int status = (now.real.*Member)(args...);
    if (status == 0) now.open += Opens;
    return status;
  }
  template <auto Member, int Opens, class... Args>
  static void install_as(int (*gpu::Driver::*)(Args...)) {
    gpu::emulated_driver().*Member = &counted<Member, Opens, Args...>;
  }
  template <auto Member, int Opens>
  static void install() {
    install_as<Member, Opens>(Member);
  }

  gpu::Driver before_;
};

}  // namespace hone::test
