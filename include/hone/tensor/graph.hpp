// Graphs: the work of a stream, written down once and launched as one call. Events mark points in a stream's work, and
// pinned memory is the host's end of copies that nobody waits for.
#pragma once

#include <hone/tensor/driver.hpp>

#include <cstddef>
#include <utility>

namespace hone::gpu {

/// An executable graph of what `work()` asks of a device's stream. Nothing is done while it is written down; addresses
/// and arguments are those of that moment.
class Graph {
 public:
  /// `device` is a Cuda or an Emu and outlives the graph. `work` must not synchronize.
  template <class Device, class Work>
  Graph(const Device& device, Work&& work) : driver_(device.driver()), stream_(device.stream()) {
    succeed(driver_, driver_.begin_capture(stream_), "begin_capture");
    void* graph = nullptr;
    try {
      const Writing<Device> writing(device);
      work();
    } catch (...) {
      abandon();
      throw;
    }
    if (const int status = driver_.end_capture(stream_, &graph); status != 0) {
      abandon();  // else the stream would go on writing down all that it is given
      succeed(driver_, status, "end_capture");
    }
    const int status = driver_.instantiate(&executable_, graph);
    driver_.destroy_graph(graph);
    succeed(driver_, status, "instantiate");
  }
  ~Graph() { driver_.destroy_executable(executable_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch() const { succeed(driver_, driver_.launch_graph(executable_, stream_), "launch_graph"); }

 private:
  /// While one lives, the device knows that its stream is captured.
  template <class Device>
  struct Writing {
    explicit Writing(const Device& one) : device(one) { device.set_writing_graph(true); }
    ~Writing() { device.set_writing_graph(false); }
    const Device& device;
  };

  /// Closes the capture and forgets what it holds.
  void abandon() const {
    void* graph = nullptr;
    if (driver_.end_capture(stream_, &graph) == 0 && graph != nullptr) driver_.destroy_graph(graph);
  }

  const Driver& driver_;
  void* stream_;
  void* executable_ = nullptr;
};

/// A point in a device's work.
class Event {
 public:
  template <class Device>
  explicit Event(const Device& device) : driver_(device.driver()) {
    succeed(driver_, driver_.create_event(&event_), "create_event");
  }
  ~Event() { driver_.destroy_event(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Marks what `device` has been given so far.
  template <class Device>
  void record(const Device& device) {
    succeed(driver_, driver_.record_event(event_, device.stream()), "record_event");
  }
  /// The host waits for it.
  void wait() const { succeed(driver_, driver_.synchronize_event(event_), "synchronize_event"); }
  /// Later work of `device` waits for it.
  template <class Device>
  void hold(const Device& device) const {
    succeed(driver_, driver_.wait_event(device.stream(), event_), "wait_event");
  }
  /// Milliseconds from `begin` to this; both have been recorded, and the device is synchronized.
  float since(const Event& begin) const {
    float out = 0;
    succeed(driver_, driver_.elapsed(&out, begin.event_, event_), "elapsed");
    return out;
  }

 private:
  const Driver& driver_;
  void* event_ = nullptr;
};

/// Host memory that a stream's copies read and write while the host goes on, with an event that says when they are
/// done.
class Pinned {
 public:
  /// `device` outlives it.
  template <class Device>
  Pinned(const Device& device, std::size_t bytes) : driver_(device.driver()), done_(device) {
    succeed(driver_, driver_.allocate_pinned(&data_, bytes), "allocate_pinned");
  }
  ~Pinned() { driver_.release_pinned(data_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  /// Copies `bytes` from `offset` on to the device, or from it.
  template <class Device>
  void send(const Device& device, void* to, std::size_t bytes, std::size_t offset = 0) {
    succeed(driver_, driver_.copy(to, as<std::byte>() + offset, bytes, device.stream()), "copy to the device");
    done_.record(device);
    busy_ = true;
  }
  template <class Device>
  void fetch(const Device& device, const void* from, std::size_t bytes, std::size_t offset = 0) {
    succeed(driver_, driver_.copy(as<std::byte>() + offset, from, bytes, device.stream()), "copy from the device");
    done_.record(device);
    busy_ = true;
  }
  /// Waits until the last copy is done: only then may the host look, or write anew.
  void wait() {
    if (std::exchange(busy_, false)) done_.wait();
  }

 private:
  const Driver& driver_;
  Event done_;
  void* data_ = nullptr;
  bool busy_ = false;
};

}  // namespace hone::gpu
