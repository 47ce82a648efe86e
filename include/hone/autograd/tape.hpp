// The tape: what was computed since the last backward, in order. A node is a function pointer and the values it saved.
#pragma once

#include <hone/autograd/gradient.hpp>
#include <hone/core/recycle.hpp>

#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

namespace hone {

/// The calling thread's list of recorded ops. backward walks it from the end, so ops are differentiated in the reverse
/// of the order they ran in, and what a node saved is freed as the walk passes it. A section of it can stand for a tape
/// of its own (NestedTape), so that recomputing needs no list of its own either.
class Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape() {
    begin_ = 0;
    clear();
  }

  /// Adds a node. `saved.backward(gradients...)` will be called with one tensor per output, undefined where no gradient
  /// has reached that output; it is not called at all when none has reached any.
  template <class Saved, class... Slots>
  void record(Saved saved, std::shared_ptr<Slots>... outputs) {
    using Entry = Recorded<Saved, Slots...>;
    (outputs->set_recorded(true), ...);
    Recycling<Entry> allocator;
    Entry* entry = new (allocator.allocate(1)) Entry{std::move(saved), {std::move(outputs)...}};
    nodes_.push_back({&Entry::backward, &Entry::destroy, entry});
  }

  std::size_t size() const { return nodes_.size() - begin_; }

  /// Runs every node, last first, and leaves the tape empty, also when one throws.
  void run_backward() {
    try {
      while (size() != 0) {
        const Node node = nodes_.back();
        nodes_.pop_back();
        const std::unique_ptr<void, void (*)(void*)> owner(node.entry, node.destroy);
        node.backward(node.entry);
      }
    } catch (...) {
      clear();
      throw;
    }
  }

  void clear() noexcept {
    while (size() != 0) {
      const Node node = nodes_.back();
      nodes_.pop_back();
      node.destroy(node.entry);
    }
  }

  /// What is recorded from here on is the tape, until close_section() is given the value returned here.
  std::size_t open_section() { return std::exchange(begin_, nodes_.size()); }
  void close_section(std::size_t outer) noexcept {
    clear();
    begin_ = outer;
  }

 private:
  struct Node {
    void (*backward)(void*);
    void (*destroy)(void*);
    void* entry;
  };

  template <class Saved, class... Slots>
  struct Recorded {
    Saved saved;
    std::tuple<std::shared_ptr<Slots>...> outputs;

    static void backward(void* entry) {
      auto& self = *static_cast<Recorded*>(entry);
      std::apply(
          [&](const auto&... slot) {
            if ((slot->filled() || ...)) self.saved.backward(slot->value_or_none()...);
          },
          self.outputs);
    }
    static void destroy(void* entry) {
      auto* self = static_cast<Recorded*>(entry);
      std::apply([](const auto&... slot) { (slot->set_recorded(false), ...); }, self->outputs);
      self->~Recorded();
      Recycling<Recorded>{}.deallocate(self, 1);
    }
  };

  std::vector<Node> nodes_;
  std::size_t begin_ = 0;  // of the section that is open
};

namespace detail {
struct AutogradState {
  Tape tape;
  bool enabled = true;
  bool training = true;
};
inline AutogradState& autograd_state() {
  thread_local AutogradState state;
  return state;
}
}  // namespace detail

/// The tape that ops of this thread record on.
inline Tape& current_tape() { return detail::autograd_state().tape; }

/// Whether ops of this thread are recorded.
inline bool grad_enabled() { return detail::autograd_state().enabled; }

/// Whether the forward pass is one of training: dropout is active. Off under no_grad, on where checkpoint() merely
/// pauses the recording.
inline bool training() { return detail::autograd_state().training; }

/// While one lives, ops are not recorded on this thread, but the pass is the same.
class [[nodiscard]] PauseRecording {
 public:
  PauseRecording() : before_(std::exchange(detail::autograd_state().enabled, false)) {}
  ~PauseRecording() { detail::autograd_state().enabled = before_; }
  PauseRecording(const PauseRecording&) = delete;
  PauseRecording& operator=(const PauseRecording&) = delete;

 private:
  bool before_;
};

/// While one lives, nothing is recorded on this thread and the pass is one of evaluation: `hone::no_grad guard;`
class [[nodiscard]] no_grad {
 public:
  no_grad() : training_before_(std::exchange(detail::autograd_state().training, false)) {}
  ~no_grad() { detail::autograd_state().training = training_before_; }
  no_grad(const no_grad&) = delete;
  no_grad& operator=(const no_grad&) = delete;

 private:
  PauseRecording pause_;
  bool training_before_;
};

/// While one lives, ops record on a tape of its own (with recording switched on): what checkpoint() recomputes on.
class [[nodiscard]] NestedTape {
 public:
  NestedTape()
      : outer_(current_tape().open_section()), enabled_before_(std::exchange(detail::autograd_state().enabled, true)) {}
  ~NestedTape() {
    current_tape().close_section(outer_);
    detail::autograd_state().enabled = enabled_before_;
  }
  NestedTape(const NestedTape&) = delete;
  NestedTape& operator=(const NestedTape&) = delete;
  Tape& tape() { return current_tape(); }

 private:
  std::size_t outer_;
  bool enabled_before_;
};

/// Whether an op with these inputs must be recorded: recording is on and one of them has a gradient slot.
template <class... Tensors>
bool records(const Tensors&... inputs) {
  return grad_enabled() && (inputs.requires_grad() || ...);
}

/// Gives the outputs fresh slots and records the op.
template <class Saved, class... Tensors>
void record(Saved saved, Tensors&... outputs) {
  (outputs.set_slot(make_recycled<typename Tensors::Slot>(outputs.shape())), ...);
  current_tape().record(std::move(saved), outputs.slot()...);
}

}  // namespace hone
