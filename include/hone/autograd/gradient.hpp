// Gradient slots: where the gradient of a tensor is summed. A slot is absent (no slot: frozen, computed for nobody),
// empty (the next contribution overwrites) or filled (the next one accumulates).
#pragma once

#include <hone/autograd/fill_copy.hpp>
#include <hone/tensor/tensor.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace hone {

/// The gradient of one tensor. Parameters keep their buffer between steps; `wide` parameters (policy `mixed`) sum
/// bf16 gradients in float.
template <class T, Device D>
class GradientSlot {
 public:
  /// The slot of an intermediate result: memory comes with the first contribution and goes with the slot.
  explicit GradientSlot(const Shape& shape) : shape_(shape) {}
  /// The slot of a parameter: `buffer` stays, and is overwritten by the first contribution after each clear().
  explicit GradientSlot(Tensor<T, D> buffer) : shape_(buffer.shape()), buffer_(std::move(buffer)), kept_(true) {}
  GradientSlot(Tensor<float, D> buffer, std::true_type /*wide*/)
      : shape_(buffer.shape()), wide_(std::move(buffer)), kept_(true) {}

  const Shape& shape() const { return shape_; }
  bool filled() const { return filled_; }
  bool wide() const { return wide_.defined(); }
  const Tensor<T, D>& value() const {
    check(filled_ && !wide(), "[autograd] no gradient of shape {} has been computed", shape_);
    return buffer_;
  }
  /// The sum so far, or an undefined tensor.
  const Tensor<T, D>& value_or_none() const {
    static const Tensor<T, D> none;
    return filled_ ? buffer_ : none;
  }
  const Tensor<float, D>& wide_value() const { return wide_; }

  /// Forgets the sum; a parameter keeps its memory.
  void clear() {
    filled_ = false;
    pending_ = 0;
    if (!kept_) buffer_ = {};
  }

  /// Says what a replayed graph has done to a parameter's gradient: the buffer holds a sum, or none.
  void set_filled(bool filled) { filled_ = filled; }

  /// Where an op adds its contribution: calls write(tensor, accumulate); afterwards the slot is filled.
  template <class Write>
  void contribute(const D& device, Write&& write) {
    if (wide()) {
      const auto narrow = Tensor<T, D>::empty(device, shape_, {Category::activations, "gradient"});
      write(narrow, false);
      return copy_into(narrow, wide_, std::exchange(filled_, true));
    }
    if (!buffer_.defined()) buffer_ = Tensor<T, D>::empty(device, shape_, {Category::activations, "gradient"});
    if (filled_) own_buffer();
    write(std::as_const(buffer_), std::exchange(filled_, true));
  }

  /// The same for kernels that can write the gradient of a weight in float as well: `write` must take both types.
  template <class Write>
  void contribute_weight(const D& device, Write&& write) {
    if constexpr (sizeof(T) < sizeof(float)) {
      if (wide()) return write(std::as_const(wide_), std::exchange(filled_, true));
    }
    contribute(device, write);
  }

  /// Takes a finished gradient: shared when it is the first, added otherwise.
  void absorb(const Tensor<T, D>& gradient) {
    if (!filled_ && !kept_) {
      buffer_ = gradient.detached();
      filled_ = true;
      return;
    }
    contribute(gradient.device(), [&](auto& sum, bool accumulate) { copy_into(gradient, sum, accumulate); });
  }

  /// The sum, in memory nobody else reads: for ops that change it in place.
  Tensor<T, D>& owned() {
    own_buffer();
    return buffer_;
  }

  // Whether an op that is still on a tape made this result; a spent one cannot be differentiated again.
  void set_recorded(bool on_tape) {
    recorded_ = on_tape;
    result_ = true;
  }
  bool spent() const { return result_ && !recorded_; }

  // A loss that forms weight gradients in its forward marks them pending until its backward has run.
  void add_pending(int count) { pending_ += count; }
  bool pending() const { return pending_ != 0; }

 private:
  /// Another tensor may share the buffer's storage (absorb shares): adding then needs a copy.
  void own_buffer() {
    if (kept_ || !buffer_.shares_storage()) return;
    auto copy = Tensor<T, D>::empty(buffer_.device(), shape_, {Category::activations, "gradient"});
    copy_into(buffer_, copy, false);
    buffer_ = std::move(copy);
  }

  Shape shape_;
  Tensor<T, D> buffer_;
  Tensor<float, D> wide_;
  bool filled_ = false;
  bool kept_ = false;
  bool recorded_ = false;
  bool result_ = false;
  int pending_ = 0;
};

}  // namespace hone
