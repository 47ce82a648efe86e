// The driver table of the emulator: host memory, and streams whose work is done before the call returns. A stream that
// is captured writes its calls down instead; a graph replays them in that order. As on a card a second stream comes
// into the capture by waiting for an event of the first, and must be waited for before it ends.
#pragma once

#include <hone/tensor/driver.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace hone::gpu {

namespace detail {

inline constexpr std::align_val_t device_alignment{256};  // as cudaMalloc promises
// CUDA's numbers for what the emulator can refuse.
inline constexpr int capture_unsupported = 900, capture_mismatched = 901, capture_unjoined = 904,
                     capture_isolated = 905, capture_gone = 907;

using EmulatedGraph = std::vector<std::function<int()>>;

struct EmulatedCapture {
  EmulatedGraph calls;
  bool open = true;

  struct Guest {
    std::size_t given = 0, met = 0;  // calls of it, and those of them that the first stream waits for
  };
  std::map<const void*, Guest> guests;  // streams that came in
};

struct EmulatedStream {
  std::shared_ptr<EmulatedCapture> capture;
  bool origin = false;  // it began the capture

  bool capturing() const { return capture != nullptr && capture->open; }
};

struct EmulatedEvent {
  std::chrono::steady_clock::time_point at;
  std::shared_ptr<EmulatedCapture> capture;  // the one it was recorded in
  const void* stream = nullptr;
  std::size_t given = 0;  // calls of that stream before it, where it is a guest
};

/// Does `call` now, or writes it down where the stream is captured.
template <class F>
int enqueue(void* stream, F&& call) {
  auto* state = static_cast<EmulatedStream*>(stream);
  if (state == nullptr || !state->capturing()) return call();
  if (!state->origin) ++state->capture->guests[stream].given;
  state->capture->calls.emplace_back(std::forward<F>(call));
  return 0;
}

inline int emulated_record(void* event, void* stream) {
  auto& mark = *static_cast<EmulatedEvent*>(event);
  const auto* state = static_cast<const EmulatedStream*>(stream);
  mark.capture = state != nullptr && state->capturing() ? state->capture : nullptr;
  mark.stream = stream;
  const int status = enqueue(stream, [event] {
    static_cast<EmulatedEvent*>(event)->at = std::chrono::steady_clock::now();
    return 0;
  });
  mark.given = mark.capture != nullptr && !state->origin ? mark.capture->guests[stream].given : 0;
  return status;
}

/// All work is done already, or stands in its graph before what comes now: only captures have something to say.
inline int emulated_wait(void* stream, void* event) {
  const auto& mark = *static_cast<const EmulatedEvent*>(event);
  auto& state = *static_cast<EmulatedStream*>(stream);
  if (mark.capture == nullptr) return state.capturing() ? capture_isolated : 0;
  if (!mark.capture->open) return capture_gone;
  if (state.capturing() && state.capture != mark.capture) return capture_isolated;
  if (!state.capturing()) {
    state.capture = mark.capture;
    state.origin = false;
    state.capture->guests.try_emplace(stream);
  }
  if (const auto guest = mark.capture->guests.find(mark.stream); guest != mark.capture->guests.end() && state.origin)
    guest->second.met = std::max(guest->second.met, mark.given);
  return 0;
}

/// A launch whose arguments outlive the caller's.
inline std::function<int()> kept(const KernelCall& call) {
  std::vector<std::vector<std::byte>> values(call.argument_count);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto* bytes = static_cast<const std::byte*>(call.arguments[i]);
    values[i].assign(bytes, bytes + call.argument_bytes[i]);
  }
  return [call, values = std::move(values)]() mutable {
    std::vector<void*> arguments;
    for (auto& value : values) arguments.push_back(value.data());
    KernelCall again = call;
    again.arguments = arguments.data();
    return again.emulate(again);
  };
}

inline int emulated_launch_on(const KernelCall& call, void* stream) {
  auto* state = static_cast<EmulatedStream*>(stream);
  if (state == nullptr || !state->capturing()) return call.emulate(call);
  return enqueue(stream, kept(call));
}

inline int emulated_allocate(void** out, std::size_t bytes) {
  *out = ::operator new(bytes, device_alignment, std::nothrow);
  return *out == nullptr ? out_of_memory : 0;
}

inline int emulated_end_capture(void* stream, void** graph) {
  auto& state = *static_cast<EmulatedStream*>(stream);
  if (!state.capturing() || !state.origin) return capture_mismatched;
  state.capture->open = false;
  for (const auto& [stream_of, guest] : state.capture->guests)
    if (guest.met != guest.given) return capture_unjoined;
  *graph = new EmulatedGraph(std::move(state.capture->calls));
  return 0;
}

inline int emulated_launch_graph(void* executable, void*) {
  for (const auto& call : *static_cast<const EmulatedGraph*>(executable))
    if (const int status = call(); status != 0) return status;
  return 0;
}

inline const char* emulated_error_text(int status) {
  switch (status) {
    case out_of_memory:
      return "out of memory";
    case capture_unsupported:
      return "operation not permitted when stream is capturing";
    case capture_mismatched:
      return "the stream is not being captured";
    case capture_unjoined:
      return "the capture ends before work of another stream that came into it";
    case capture_isolated:
      return "a captured stream may not wait for work outside its capture";
    case capture_gone:
      return "the event belongs to a capture that has ended";
    default:
      return "a call that the test made fail";
  }
}

inline void add_memory(Driver& driver) {
  driver.allocate = &emulated_allocate;
  driver.release = [](void* memory) {
    ::operator delete(memory, device_alignment);
    return 0;
  };
  driver.memory_info = [](std::size_t* free_bytes, std::size_t* total_bytes) {
    *free_bytes = *total_bytes = std::size_t{80} << 30;  // what it stands for; the host's own memory is the limit
    return 0;
  };
  driver.allocate_pinned = driver.allocate;
  driver.release_pinned = driver.release;
  driver.copy = [](void* to, const void* from, std::size_t bytes, void* stream) {
    return enqueue(stream, [=] {
      if (bytes > 0) std::memmove(to, from, bytes);
      return 0;
    });
  };
  driver.fill = [](void* to, int byte, std::size_t bytes, void* stream) {
    return enqueue(stream, [=] {
      if (bytes > 0) std::memset(to, byte, bytes);
      return 0;
    });
  };
}

inline void add_streams(Driver& driver) {
  driver.create_stream = [](void** out) {
    *out = new EmulatedStream;
    return 0;
  };
  driver.destroy_stream = [](void* stream) {
    delete static_cast<EmulatedStream*>(stream);
    return 0;
  };
  driver.synchronize = [](void* stream) {
    const auto* state = static_cast<const EmulatedStream*>(stream);
    return state != nullptr && state->capturing() ? capture_unsupported : 0;
  };
  driver.create_event = [](void** out) {
    *out = new EmulatedEvent;
    return 0;
  };
  driver.destroy_event = [](void* event) {
    delete static_cast<EmulatedEvent*>(event);
    return 0;
  };
  driver.record_event = &emulated_record;
  driver.wait_event = &emulated_wait;
  driver.synchronize_event = [](void*) { return 0; };
  driver.elapsed = [](float* milliseconds, void* begin, void* end) {
    const auto passed = static_cast<EmulatedEvent*>(end)->at - static_cast<EmulatedEvent*>(begin)->at;
    *milliseconds = std::chrono::duration<float, std::milli>(passed).count();
    return 0;
  };
}

inline void add_graphs(Driver& driver) {
  driver.begin_capture = [](void* stream) {
    auto* state = static_cast<EmulatedStream*>(stream);
    if (state == nullptr || state->capturing()) return capture_unsupported;
    state->capture = std::make_shared<EmulatedCapture>();
    state->origin = true;
    return 0;
  };
  driver.end_capture = &emulated_end_capture;
  driver.instantiate = [](void** executable, void* graph) {
    *executable = new EmulatedGraph(*static_cast<const EmulatedGraph*>(graph));
    return 0;
  };
  driver.launch_graph = &emulated_launch_graph;
  driver.destroy_graph = [](void* graph) {
    delete static_cast<EmulatedGraph*>(graph);
    return 0;
  };
  driver.destroy_executable = driver.destroy_graph;
}

}  // namespace detail

/// The table Emu works through. A test may replace entries to make calls fail; it puts them back. There is no GEMM
/// library in it: a test that wants one sets `matmul`.
inline Driver& emulated_driver() {
  static Driver driver = [] {
    Driver out;
    detail::add_memory(out);
    detail::add_streams(out);
    detail::add_graphs(out);
    out.launch = &detail::emulated_launch_on;
    out.most_threads = [](int* most, const void*) {
      *most = 1024;
      return 0;
    };
    out.encode_tiles = [](void* map, const void* data, DType type, const TileGeometry& tiles) {
      *static_cast<TileMap*>(map) = {static_cast<std::byte*>(const_cast<void*>(data)), size_of(type), tiles};
      return 0;
    };
    out.error_text = &detail::emulated_error_text;
    return out;
  }();
  return driver;
}

}  // namespace hone::gpu
