// The driver table of the emulator: host memory, and streams whose work is done before the call returns. A stream that
// is captured writes its calls down instead; a graph replays them in that order.
#pragma once

#include <hone/tensor/driver.hpp>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace hone::gpu {

namespace detail {

inline constexpr std::align_val_t device_alignment{256};  // as cudaMalloc promises
// CUDA's numbers for what the emulator can refuse.
inline constexpr int capture_unsupported = 900, capture_mismatched = 901;

using EmulatedGraph = std::vector<std::function<int()>>;

struct EmulatedStream {
  bool capturing = false;
  EmulatedGraph calls;
};

using EmulatedEvent = std::chrono::steady_clock::time_point;

/// Does `call` now, or writes it down where the stream is captured.
template <class F>
int enqueue(void* stream, F&& call) {
  auto* state = static_cast<EmulatedStream*>(stream);
  if (state == nullptr || !state->capturing) return call();
  state->calls.emplace_back(std::forward<F>(call));
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
  if (state == nullptr || !state->capturing) return call.emulate(call);
  state->calls.push_back(kept(call));
  return 0;
}

inline int emulated_allocate(void** out, std::size_t bytes) {
  *out = ::operator new(bytes, device_alignment, std::nothrow);
  return *out == nullptr ? out_of_memory : 0;
}

inline int emulated_end_capture(void* stream, void** graph) {
  auto& state = *static_cast<EmulatedStream*>(stream);
  if (!std::exchange(state.capturing, false)) return capture_mismatched;
  *graph = new EmulatedGraph(std::exchange(state.calls, {}));
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
    return state != nullptr && state->capturing ? capture_unsupported : 0;
  };
  driver.create_event = [](void** out) {
    *out = new EmulatedEvent;
    return 0;
  };
  driver.destroy_event = [](void* event) {
    delete static_cast<EmulatedEvent*>(event);
    return 0;
  };
  driver.record_event = [](void* event, void* stream) {
    return enqueue(stream, [event] {
      *static_cast<EmulatedEvent*>(event) = std::chrono::steady_clock::now();
      return 0;
    });
  };
  driver.wait_event = [](void*, void*) { return 0; };  // all work is done already
  driver.synchronize_event = [](void*) { return 0; };
  driver.elapsed = [](float* milliseconds, void* begin, void* end) {
    const auto passed = *static_cast<EmulatedEvent*>(end) - *static_cast<EmulatedEvent*>(begin);
    *milliseconds = std::chrono::duration<float, std::milli>(passed).count();
    return 0;
  };
}

inline void add_graphs(Driver& driver) {
  driver.begin_capture = [](void* stream) {
    auto* state = static_cast<EmulatedStream*>(stream);
    if (state == nullptr || state->capturing) return capture_unsupported;
    state->capturing = true;
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
