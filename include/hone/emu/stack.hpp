// Stacks for the emulator's threads: mapped once, kept for later launches, with a guard page below each.
#pragma once

#include <hone/core/error.hpp>
#include <hone/emu/sanitizer.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <deque>
#include <utility>

namespace hone::emulator {

/// Kernels keep little on the stack, but the address sanitizer widens frames and prints its report on the same stack.
inline constexpr std::size_t stack_bytes = address_sanitizer ? std::size_t{256} << 10 : std::size_t{64} << 10;

/// One stack. Running off its end hits the guard page, a fault at the kernel's own line instead of foreign data.
class Stack {
 public:
  Stack() : guard_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    void* mapped =
        mmap(nullptr, guard_ + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(mapped != MAP_FAILED, "[emu] no memory for a thread's stack of {} bytes", stack_bytes);
    base_ = static_cast<std::byte*>(mapped);
    if (mprotect(base_, guard_, PROT_NONE) != 0) {
      munmap(base_, guard_ + stack_bytes);
      fail("[emu] the guard page below a thread's stack was refused");
    }
  }
  ~Stack() {
    if (base_ != nullptr) munmap(base_, guard_ + stack_bytes);
  }
  Stack(Stack&& other) noexcept : guard_(other.guard_), base_(std::exchange(other.base_, nullptr)) {}
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  std::byte* bottom() const { return base_ + guard_; }
  std::byte* top() const { return bottom() + stack_bytes; }

 private:
  std::size_t guard_;
  std::byte* base_ = nullptr;
};

/// The stacks of this host thread; number i serves thread i of every block.
class StackPool {
 public:
  Stack& at(std::size_t index) {
    while (stacks_.size() <= index) stacks_.emplace_back();
    return stacks_[index];
  }

  static StackPool& of_this_thread() {
    static thread_local StackPool pool;
    return pool;
  }

 private:
  std::deque<Stack> stacks_;  // fibers point at them while more are added
};

}  // namespace hone::emulator
