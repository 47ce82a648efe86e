// What the device tags Cuda and Emu hold: a driver table, a stream, and a Memory whose bytes the driver allocates.
#pragma once

#include <hone/core/human.hpp>
#include <hone/core/target.hpp>
#include <hone/memory/memory.hpp>
#include <hone/tensor/driver.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace hone::gpu {

/// A stream that lives as long as this.
class Stream {
 public:
  explicit Stream(const Driver& driver) : driver_(driver) {
    succeed(driver_, driver_.create_stream(&stream_), "create_stream");
  }
  ~Stream() { driver_.destroy_stream(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  void* get() const { return stream_; }

 private:
  const Driver& driver_;
  void* stream_ = nullptr;
};

/// Memory of a card.
class DriverBacking final : public Backing {
 public:
  DriverBacking(const Driver& driver, void* stream) : driver_(driver), stream_(stream) {}

  /// The driver aligns to 256 bytes, which is what targets of cards ask for.
  std::byte* allocate(std::size_t bytes, std::size_t) override {
    void* out = nullptr;
    const int status = driver_.allocate(&out, bytes);
    if (status == out_of_memory) return nullptr;
    succeed(driver_, status, "allocate");
    return static_cast<std::byte*>(out);
  }
  void release(std::byte* data) noexcept override { driver_.release(data); }
  /// Pinned: copies need no detour, and kernels reach it too.
  std::byte* allocate_host(std::size_t bytes, std::size_t) override {
    void* out = nullptr;
    const int status = driver_.allocate_pinned(&out, bytes);
    if (status == out_of_memory) return nullptr;
    succeed(driver_, status, "allocate_pinned");
    return static_cast<std::byte*>(out);
  }
  void release_host(std::byte* data) noexcept override { driver_.release_pinned(data); }
  void poison(std::byte* data, std::size_t bytes) override {
    succeed(driver_, driver_.fill(data, 0xff, bytes, stream_), "fill");
  }
  std::string state() const override {
    std::size_t free_bytes = 0, total_bytes = 0;
    if (driver_.memory_info(&free_bytes, &total_bytes) != 0) return {};
    return fmt::format("of the card's {}, {} are free\n", human_bytes(static_cast<std::int64_t>(total_bytes)),
                       human_bytes(static_cast<std::int64_t>(free_bytes)));
  }

 private:
  const Driver& driver_;
  void* stream_;
};

/// The state of one device. Destroyed in reverse: memory goes back before the stream does.
struct DeviceState {
  DeviceState(const Driver& driver_, const Target& target)
      : driver(driver_), stream(driver_), memory(target, std::make_unique<DriverBacking>(driver_, stream.get())) {}

  /// Copies between the host and the device's memory. Host memory may be used as soon as it returns.
  void copy_in(void* to, const void* from, std::size_t bytes) const {
    refuse_in_graph();
    if (bytes > 0) succeed(driver, driver.copy(to, from, bytes, stream.get()), "copy to the device");
  }
  void copy_out(void* to, const void* from, std::size_t bytes) const {
    refuse_in_graph();
    if (bytes == 0) return;
    succeed(driver, driver.copy(to, from, bytes, stream.get()), "copy from the device");
    synchronize();
  }
  void synchronize() const { succeed(driver, driver.synchronize(stream.get()), "synchronize"); }

  void refuse_in_graph() const {
    check(!writing_graph,
          "[cuda] a copy between host and device was asked for in work that is written down as a graph: when the graph "
          "runs, that memory of the host is gone");
  }

  const Driver& driver;
  Stream stream;
  Memory memory;
  bool writing_graph = false;  ///< the stream is captured
  std::shared_ptr<const GemmTuning> gemm_tuning;
};

/// What the device tags of a GPU have in common: a cheap handle on one state.
class DeviceHandle {
 public:
  /// `driver` outlives the device.
  DeviceHandle(const Driver& driver, const Target& target) : state_(std::make_shared<DeviceState>(driver, target)) {}

  Memory& memory() const { return state_->memory; }
  const Target& target() const { return state_->memory.target(); }
  const Driver& driver() const { return state_->driver; }
  void* stream() const { return state_->stream.get(); }

  /// Copies between the host and the device, in the order of the device's work.
  void copy_in(void* to, const void* from, std::size_t bytes) const { state_->copy_in(to, from, bytes); }
  void copy_out(void* to, const void* from, std::size_t bytes) const { state_->copy_out(to, from, bytes); }
  /// Says that the stream's work is being written down (see Graph), or no longer.
  void set_writing_graph(bool writing) const { state_->writing_graph = writing; }
  /// What chooses the GEMM library's algorithms; null: the library does. See use_gemm_tuning() in tune_gemms.hpp.
  const std::shared_ptr<const GemmTuning>& gemm_tuning() const { return state_->gemm_tuning; }
  void set_gemm_tuning(std::shared_ptr<const GemmTuning> tuning) const { state_->gemm_tuning = std::move(tuning); }
  /// Waits until all work given so far is done; errors of kernels surface here.
  void synchronize() const { state_->synchronize(); }

 private:
  std::shared_ptr<DeviceState> state_;
};

/// What a program is run for on a card of compute capability `sm` (90 for sm_90): the GEMM library is given workspace,
/// of which Hopper's kernels want more.
constexpr Target cuda_target(int sm) {
  return {
      .kind = DeviceKind::cuda, .alignment = 256, .sm = sm, .gemm_workspace = std::int64_t{sm >= 90 ? 32 : 8} << 20};
}

}  // namespace hone::gpu
