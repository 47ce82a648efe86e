// Devices as types: Cpu and Emu (and Cuda, in cuda.hpp) have memory and kernels, Meta has neither and counts what the
// others would do.
#pragma once

#include <hone/core/target.hpp>
#include <hone/core/thread_pool.hpp>
#include <hone/memory/memory.hpp>
#include <hone/tensor/emulated_driver.hpp>
#include <hone/tensor/gpu_state.hpp>
#include <hone/tensor/work.hpp>

#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <utility>

namespace hone {

/// A device is a cheap handle; copies mean the same memory, ledger and workers.
template <class D>
concept Device = std::copyable<D> && requires(const D& device) {
  { device.memory() } -> std::same_as<Memory&>;
  { device.target() } -> std::same_as<const Target&>;
};

/// A device whose memory is reached by copies: copy_in(to, from, bytes) from the host, copy_out to it.
template <class D>
concept Copying = requires(const D& device, void* bytes) {
  device.copy_in(bytes, bytes, std::size_t{0});
  device.copy_out(bytes, bytes, std::size_t{0});
};

/// Copies from the host into a device's memory, and back; host memory may be used as soon as they return.
template <Device D>
void copy_to_device(const D& device, void* to, const void* from, std::size_t bytes) {
  if constexpr (Copying<D>)
    device.copy_in(to, from, bytes);
  else if (bytes > 0)
    std::memcpy(to, from, bytes);
}
template <Device D>
void copy_to_host(const D& device, void* to, const void* from, std::size_t bytes) {
  if constexpr (Copying<D>)
    device.copy_out(to, from, bytes);
  else if (bytes > 0)
    std::memcpy(to, from, bytes);
}

/// The processor. `Cpu{}` is the process-wide device with all cores; Cpu(options) is one of its own.
class Cpu {
 public:
  struct Options {
    int threads = 0;       ///< 0 = one per core
    Isa isa = best_isa();  ///< at most best_isa()
    std::int64_t redzone = 0;
  };

  Cpu() : state_(process_wide()) {}
  explicit Cpu(const Options& options) : state_(std::make_shared<State>(options)) {}

  Memory& memory() const { return state_->memory; }
  const Target& target() const { return state_->memory.target(); }
  ThreadPool& pool() const { return state_->pool; }

 private:
  struct State {
    explicit State(const Options& options)
        : pool(options.threads > 0 ? options.threads
                                   : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))),
          memory({.kind = DeviceKind::cpu,
                  .threads = pool.threads(),
                  .isa = std::min(options.isa, best_isa()),
                  .redzone = options.redzone},
                 true) {}
    ThreadPool pool;
    Memory memory;
  };
  static const std::shared_ptr<State>& process_wide() {
    static const auto state = std::make_shared<State>(Options{});
    return state;
  }
  std::shared_ptr<State> state_;
};

/// The CUDA emulator: kernels from cuda/hone/kernels run block by block on the processor (emu/). All it asks for, host
/// memory included, goes through the emulated driver's table, as Cuda's does through the real one.
class Emu : public gpu::DeviceHandle {
 public:
  Emu() : Emu(Target{.kind = DeviceKind::emu, .alignment = 256, .sm = 80}) {}
  explicit Emu(const Target& target) : DeviceHandle(gpu::emulated_driver(), target) {}
};

/// No memory and no kernels: every allocation is booked, every kernel call is counted, for the target it stands for.
class Meta {
 public:
  /// What the kernels of a step would move and compute.
  struct Work {
    std::int64_t kernels = 0;
    std::int64_t bytes_read = 0;
    std::int64_t bytes_written = 0;
    double flops = 0;
    std::int64_t copies = 0;        ///< of what is offloaded, between the device's memory and the host's
    std::int64_t bytes_copied = 0;  ///< by them

    friend Work operator+(const Work& a, const Work& b) {
      return {a.kernels + b.kernels, a.bytes_read + b.bytes_read, a.bytes_written + b.bytes_written,
              a.flops + b.flops,     a.copies + b.copies,         a.bytes_copied + b.bytes_copied};
    }
    friend Work operator*(const Work& a, std::int64_t times) {
      return {a.kernels * times, a.bytes_read * times,  a.bytes_written * times, a.flops * static_cast<double>(times),
              a.copies * times,  a.bytes_copied * times};
    }
  };

  explicit Meta(const Target& target = {}) : state_(std::make_shared<State>(target)) {}
  Memory& memory() const { return state_->memory; }
  const Target& target() const { return state_->memory.target(); }
  Work& work() const { return state_->work; }
  /// From now on every matrix product's shape is put into `out`, which outlives that; null: no longer.
  void collect_products(std::set<gpu::GemmShape>* out) const { state_->products = out; }

  /// Books a copy beside the kernels; one of no bytes is never made.
  void count_copy(std::int64_t bytes) const {
    state_->work.copies += bytes > 0;
    state_->work.bytes_copied += bytes;
  }

  /// Books one kernel call, by the conventions of tensor/work.hpp.
  template <class K, class... Args>
  void count(const Args&... args) const {
    Work& work = state_->work;
    ++work.kernels;
    Traffic traffic;
    if constexpr (requires { K::traffic(args...); })
      traffic = K::traffic(args...);
    else
      traffic = detail::TrafficOfViews::of(args...);
    work.bytes_read += traffic.read;
    work.bytes_written += traffic.written;
    if constexpr (requires { K::product(args...); })
      if (state_->products != nullptr) state_->products->insert(K::product(args...));
    if constexpr (requires { K::flops(args...); }) work.flops += static_cast<double>(K::flops(args...));
  }

 private:
  struct State {
    explicit State(const Target& target) : memory(target, false) {}
    Memory memory;
    Work work;
    std::set<gpu::GemmShape>* products = nullptr;
  };
  std::shared_ptr<State> state_;
};

}  // namespace hone
