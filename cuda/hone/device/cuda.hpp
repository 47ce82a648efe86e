// Cuda: the device tag of a real card. It holds a driver table and a stream; g++ compiles it, for the table hides CUDA.
#pragma once

#include <hone/core/target.hpp>
#include <hone/device/driver.hpp>

#include <memory>

namespace hone {

class Cuda {
 public:
  /// Work goes to a stream of its own. `sm` is the compute capability, 90 for sm_90.
  Cuda(const gpu::Driver& driver, int sm) : state_(std::make_shared<State>(driver, sm)) {}

  const Target& target() const { return state_->target; }
  const gpu::Driver& driver() const { return state_->driver; }
  void* stream() const { return state_->stream; }

  /// Waits until all work given so far is done; errors of kernels surface here.
  void synchronize() const { gpu::succeed(driver(), driver().synchronize(stream()), "synchronize"); }

 private:
  struct State {
    State(const gpu::Driver& driver_, int sm)
        : driver(driver_), target{.kind = DeviceKind::cuda, .alignment = 256, .sm = sm} {
      gpu::succeed(driver, driver.create_stream(&stream), "create_stream");
    }
    ~State() { driver.destroy_stream(stream); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    gpu::Driver driver;
    Target target;
    void* stream = nullptr;
  };
  std::shared_ptr<State> state_;
};

}  // namespace hone
