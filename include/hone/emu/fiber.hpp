// Fiber: one flow of control on a stack of its own, entered with resume() and left with suspend(). The switch itself is
// Boost.Context's fcontext (a dozen instructions); everything around it is here.
#pragma once

#include <hone/emu/sanitizer.hpp>
#include <hone/emu/stack.hpp>

#include <boost/context/detail/fcontext.hpp>

#include <cstddef>

namespace hone::emulator {

class Fiber {
 public:
  using Entry = void (*)(void* argument);  ///< must not throw: nothing above it could catch

  /// Makes the fiber ready to run entry(argument) on `stack`. The fiber must not move while it runs.
  void start(Stack& stack, Entry entry, void* argument) {
    forget_frames(stack.bottom(), stack_bytes);
    stack_ = &stack;
    entry_ = entry;
    argument_ = argument;
    inside_ = boost::context::detail::make_fcontext(stack.top(), stack_bytes, &Fiber::begin);
  }

  /// Runs the fiber until it suspends or ends. Called by the host.
  void resume() {
    void* kept = nullptr;
    before_switch(&kept, stack_->bottom(), stack_bytes);
    const auto back = boost::context::detail::jump_fcontext(inside_, this);
    after_switch(kept, nullptr, nullptr);
    inside_ = back.fctx;
  }

  /// Gives control back to the host; returns at the next resume(). Called inside the fiber.
  void suspend() {
    void* kept = nullptr;
    before_switch(&kept, host_bottom_, host_bytes_);
    const auto back = boost::context::detail::jump_fcontext(outside_, nullptr);
    after_switch(kept, &host_bottom_, &host_bytes_);
    outside_ = back.fctx;
  }

 private:
  static void begin(boost::context::detail::transfer_t from) {
    auto* self = static_cast<Fiber*>(from.data);
    after_switch(nullptr, &self->host_bottom_, &self->host_bytes_);
    self->outside_ = from.fctx;
    self->entry_(self->argument_);
    before_switch(nullptr, self->host_bottom_, self->host_bytes_);
    boost::context::detail::jump_fcontext(self->outside_, nullptr);
    __builtin_unreachable();
  }

  Stack* stack_ = nullptr;
  Entry entry_ = nullptr;
  void* argument_ = nullptr;
  boost::context::detail::fcontext_t inside_ = nullptr;
  boost::context::detail::fcontext_t outside_ = nullptr;
  const void* host_bottom_ = nullptr;
  std::size_t host_bytes_ = 0;
};

}  // namespace hone::emulator
