// Streams beside the first do their copies as late as the driver may: when another stream waits for them. What forgets
// to wait then reads what has not arrived, or gives memory back that is still to be read.
#pragma once

#include <hone/tensor/emulated_driver.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace hone::test {

/// While one lives; it is made before the device, whose own stream is the first. Not for work that is captured.
class LateCopies {
 public:
  LateCopies() : before_(gpu::emulated_driver()) {
    state() = {.real = before_};
    gpu::Driver& driver = gpu::emulated_driver();
    driver.create_stream = [](void** out) {
      const int status = state().real.create_stream(out);
      if (state().first == nullptr) state().first = *out;
      return status;
    };
    driver.destroy_stream = [](void* stream) {
      land(stream, state().waiting[stream].size());
      state().waiting.erase(stream);
      return state().real.destroy_stream(stream);
    };
    driver.launch = [](const gpu::KernelCall& call, void* stream) {
      ++state().work;
      return state().real.launch(call, stream);
    };
    driver.fill = [](void* to, int byte, std::size_t bytes, void* stream) {
      ++state().work;
      return state().real.fill(to, byte, bytes, stream);
    };
    driver.copy = &copy;
    driver.record_event = [](void* event, void* stream) {
      state().marks[event] = {stream, stream == state().first ? state().work : state().given[stream]};
      return state().real.record_event(event, stream);
    };
    driver.wait_event = &wait;
  }
  ~LateCopies() { gpu::emulated_driver() = before_; }
  LateCopies(const LateCopies&) = delete;
  LateCopies& operator=(const LateCopies&) = delete;

  /// Copies that were put off.
  static std::size_t put_off() { return state().put_off; }
  /// Those of them that have not passed yet: nobody has waited for them.
  static std::size_t under_way() {
    std::size_t out = 0;
    for (const auto& [stream, copies] : state().waiting) out += copies.size();
    return out;
  }
  /// Those of them that did not wait for all the work given before them, and might pass too early.
  static std::size_t too_early() { return state().too_early; }

 private:
  struct Mark {
    void* stream = nullptr;
    std::size_t at = 0;
  };
  struct State {
    gpu::Driver real;
    void* first = nullptr;
    std::size_t work = 0, put_off = 0, too_early = 0;  // work: calls of the first stream
    std::map<void*, Mark> marks = {};
    std::map<void*, std::size_t> seen = {}, given = {}, landed = {};  // by stream
    std::map<void*, std::vector<std::function<int()>>> waiting = {};
  };
  static State& state() {
    static State value;
    return value;
  }

  static int copy(void* to, const void* from, std::size_t bytes, void* stream) {
    State& now = state();
    if (stream == now.first) {
      ++now.work;
      return now.real.copy(to, from, bytes, stream);
    }
    ++now.put_off;
    ++now.given[stream];
    if (now.seen[stream] != now.work) ++now.too_early;
    now.waiting[stream].push_back([=] { return state().real.copy(to, from, bytes, stream); });
    return 0;
  }
  static int wait(void* stream, void* event) {
    State& now = state();
    const Mark mark = now.marks[event];
    if (mark.stream == now.first)
      now.seen[stream] = mark.at;
    else if (const int status = land(mark.stream, mark.at - now.landed[mark.stream]); status != 0)
      return status;
    return now.real.wait_event(stream, event);
  }
  /// The first `count` copies of a stream pass.
  static int land(void* stream, std::size_t count) {
    auto& waiting = state().waiting[stream];
    if (count > waiting.size()) count = 0;  // they have landed
    int status = 0;
    for (std::size_t i = 0; i < count && status == 0; ++i) status = waiting[i]();
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count));
    state().landed[stream] += count;
    return status;
  }

  gpu::Driver before_;
};

}  // namespace hone::test
