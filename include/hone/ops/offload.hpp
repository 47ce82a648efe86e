// Activations in the host's memory (Rajbhandari et al., ZeRO-Infinity, 2021, section 5.1.4): a checkpointed layer keeps
// its input alone, and that input goes to the host while the layer runs and comes back while the layer behind it is
// differentiated. The device holds two layer inputs at a time, however many layers there are. The copies pass on a lane
// of their own. On the processor nothing moves: its memory is the host's.
#pragma once

#include <hone/ops/checkpoint.hpp>
#include <hone/tensor/copy_lane.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace hone {

namespace detail {

/// Copies between a device and host memory that both address: nothing where there are no bytes.
template <Device D>
struct OffloadLane {
  explicit OffloadLane(const D&) {}
};
template <Device D>
requires Copying<D>
struct OffloadLane<D> {
  explicit OffloadLane(const D& device) : lane(device), arrival(device) {}
  gpu::CopyLane lane;
  gpu::Arrival arrival;  // of the copy asked for last; there is never another one open
};

}  // namespace detail

/// Room in the host's memory for the layer inputs of one forward pass, kept from step to step.
template <Device D>
class HostInputs {
 public:
  explicit HostInputs(const D& device) : device_(device), lane_(device) {}
  HostInputs(const HostInputs&) = delete;
  HostInputs& operator=(const HostInputs&) = delete;

  std::int64_t bytes() const { return room_.defined() ? room_.bytes() : 0; }
  /// Makes the room at least that large; what it held is lost.
  void reserve(std::int64_t wanted) {
    if (wanted <= bytes()) return;
    if constexpr (Copying<D>) device_.synchronize();  // it may still be read
    room_ = {};
    room_ = Tensor<std::byte, D>::empty(device_, {wanted}, {Category::host, "layer inputs"});
  }

 private:
  template <class, Device>
  friend class OffloadedInputs;

  /// A pass of `count` inputs begins, of at most one at a time.
  void begin() {
    check(
        !busy_,
        "[offload] a second forward pass began before the backward of the first, whose layer inputs are in the host's "
        "memory: call backward() first, or evaluate under no_grad");
    busy_ = true;
  }
  void end() noexcept {
    if constexpr (Copying<D>) lane_.arrival.settle(device_);
    busy_ = false;
  }
  void send(const std::byte* from, std::int64_t offset, std::int64_t count) {
    if constexpr (Copying<D>) move(room_.data() + offset, from, count);
    if constexpr (std::same_as<D, Meta>) device_.count_copy(count);
  }
  void fetch(std::byte* to, std::int64_t offset, std::int64_t count) {
    if constexpr (Copying<D>) move(to, room_.data() + offset, count);
    if constexpr (std::same_as<D, Meta>) device_.count_copy(count);
  }
  void meet() {
    if constexpr (Copying<D>) lane_.arrival.meet(device_);
  }
  void move(std::byte* to, const std::byte* from, std::int64_t count) {
    try {
      lane_.lane.follow(device_);
      lane_.lane.copy(to, from, static_cast<std::size_t>(count));
      lane_.arrival.expect(lane_.lane);
    } catch (...) {
      lane_.arrival.settle(lane_.lane, device_);
      throw;
    }
  }

  D device_;
  Tensor<std::byte, D> room_;
  detail::OffloadLane<D> lane_;
  bool busy_ = false;
};

/// The inputs of the layers of one forward pass. All have the shape of the first.
template <class T, Device D>
class OffloadedInputs {
 public:
  /// Of `layers` layers, the first of which reads `first`. The last one's input stays on the device: it is needed next.
  OffloadedInputs(std::shared_ptr<HostInputs<D>> host, std::int64_t layers, const Tensor<T, D>& first)
      : host_(std::move(host)), layers_(layers), size_(first.bytes()) {
    host_->begin();
    try {
      host_->reserve(checked_mul(layers_ - 1, size_, "[offload] layer inputs"));
    } catch (...) {
      host_->end();
      throw;
    }
  }
  ~OffloadedInputs() { host_->end(); }
  OffloadedInputs(const OffloadedInputs&) = delete;
  OffloadedInputs& operator=(const OffloadedInputs&) = delete;

  /// `x` is about to be read by the next layer, whose number is returned: its copy begins.
  std::int64_t add(const Tensor<T, D>& x) {
    const auto layer = static_cast<std::int64_t>(inputs_.size());
    check(x.bytes() == size_ && layer < layers_, "[offload] the input {} of layer {} of {} is not like the first",
          x.shape(), layer, layers_);
    inputs_.push_back(x);
    if (leaves(layer)) host_->send(bytes_of_input(x), layer * size_, size_);
    return layer;
  }
  /// That layer has run: its input's bytes are given back once they are on the host.
  void leave(std::int64_t layer) {
    if (!leaves(layer)) return;
    host_->meet();
    at(layer).discard();
  }
  /// That layer is about to be differentiated: its input, and the one before it is on its way.
  Tensor<T, D> take(std::int64_t layer) {
    host_->meet();
    Tensor<T, D> out = std::exchange(at(layer), {});
    if (layer > 0) {
      at(layer - 1).restore();
      host_->fetch(bytes_of_input(at(layer - 1)), (layer - 1) * size_, size_);
    }
    return out;
  }

 private:
  bool leaves(std::int64_t layer) const { return layer + 1 < layers_; }
  Tensor<T, D>& at(std::int64_t layer) { return inputs_[static_cast<std::size_t>(layer)]; }
  static std::byte* bytes_of_input(const Tensor<T, D>& x) { return reinterpret_cast<std::byte*>(x.data()); }

  std::shared_ptr<HostInputs<D>> host_;
  std::int64_t layers_;
  std::int64_t size_;
  std::vector<Tensor<T, D>> inputs_;
};

namespace detail {

template <class F, class T, Device D>
struct OffloadedSaved {
  F fn;
  std::shared_ptr<OffloadedInputs<T, D>> inputs;
  std::int64_t layer;
  Generator generator;

  void backward(const Tensor<T, D>& dy) {
    CheckpointSaved<F, Tensor<T, D>>{std::move(fn), {inputs->take(layer)}, generator}.backward(dy);
  }
};

}  // namespace detail

/// checkpoint(fn, x) whose x is the next of `inputs`. Gradients must be enabled.
template <class F, class T, Device D>
Tensor<T, D> checkpoint_offloaded(F fn, const Tensor<T, D>& x, const std::shared_ptr<OffloadedInputs<T, D>>& inputs) {
  const std::int64_t layer = inputs->add(x);
  const Generator generator = default_generator();
  Tensor<T, D> y = [&] {
    const PauseRecording pause;
    return fn(x);
  }();
  inputs->leave(layer);
  record(detail::OffloadedSaved<F, T, D>{std::move(fn), inputs, layer, generator}, y);
  return y;
}

}  // namespace hone
