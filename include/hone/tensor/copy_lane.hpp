// Copies beside a device's work: a stream of their own, so that they pass while kernels run.
#pragma once

#include <hone/tensor/gpu_state.hpp>
#include <hone/tensor/graph.hpp>

#include <cstddef>
#include <exception>

namespace hone::gpu {

/// Copies in the order they are asked for. Work of a graph may branch off to it: it does so with follow(), and must be
/// back, with Event::hold, before the graph ends.
class CopyLane {
 public:
  /// `device` is a Cuda or an Emu.
  template <class Device>
  explicit CopyLane(const Device& device) : driver_(device.driver()), stream_(device.driver()), reached_(device) {}

  const Driver& driver() const { return driver_; }
  void* stream() const { return stream_.get(); }

  /// Later copies wait for what `device` has been given so far.
  template <class Device>
  void follow(const Device& device) {
    reached_.record(device);
    reached_.hold(*this);
  }
  /// Between the device's memory and pinned memory of the host, in either direction.
  void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) succeed(driver_, driver_.copy(to, from, bytes, stream()), "copy beside the work");
  }

 private:
  const Driver& driver_;
  Stream stream_;
  Event reached_;
};

/// The last copies of a lane, for which a device has still to wait.
class Arrival {
 public:
  template <class Device>
  explicit Arrival(const Device& device) : done_(device) {}

  /// Marks what the lane has been given so far.
  void expect(const CopyLane& lane) {
    done_.record(lane);
    expected_ = true;
  }
  /// Later work of `device` waits for it.
  template <class Device>
  void meet(const Device& device) {
    if (expected_) done_.hold(device);
    expected_ = false;
  }
  /// The same where nothing can be thrown: after a failure, before memory that the lane still uses is given back.
  template <class Device>
  void settle(const Device& device) noexcept {
    try {
      meet(device);
    } catch (const std::exception&) {
      expected_ = false;  // the driver has told of worse already
    }
  }
  /// The same for all that the lane has been given, expected or not: a failure may have come between.
  template <class Device>
  void settle(const CopyLane& lane, const Device& device) noexcept {
    try {
      expect(lane);
    } catch (const std::exception&) {
      return settle(device);
    }
    settle(device);
  }

 private:
  Event done_;
  bool expected_ = false;
};

}  // namespace hone::gpu
