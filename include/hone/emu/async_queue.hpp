// AsyncQueue: one thread's copies from global to shared memory that are under way (cp.async).
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

namespace hone::emulator {

/// The byte that unwritten memory is filled with: NaN in every floating type, -1 in every signed integer.
inline constexpr int poison_byte = 0xff;

/// The hardware may write at any moment between the copy and its wait. Here the target turns to poison at once and the
/// bytes arrive only at the wait, so whoever reads too early, or still reads what is being replaced, sees NaN.
class AsyncQueue {
 public:
  /// Copies `bytes` and zeroes the rest of `width`.
  void copy(void* to, const void* from, std::size_t bytes, std::size_t width) {
    std::memset(to, poison_byte, width);
    copies_.push_back({to, from, bytes, width, open_group_});
  }
  void commit() { ++open_group_; }

  /// Lands every group but the newest `may_stay` committed ones.
  void wait(int may_stay) { land(open_group_ - may_stay); }
  void wait_all() { land(open_group_ + 1); }
  bool empty() const { return copies_.empty(); }
  void clear() {
    copies_.clear();
    open_group_ = 0;
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes;
    std::size_t width;
    int group;
  };

  void land(int before_group) {
    std::size_t kept = 0;
    for (const Copy& copy : copies_) {
      if (copy.group >= before_group) {
        copies_[kept++] = copy;
        continue;
      }
      if (copy.bytes > 0) std::memcpy(copy.to, copy.from, copy.bytes);
      std::memset(static_cast<std::byte*>(copy.to) + copy.bytes, 0, copy.width - copy.bytes);
    }
    copies_.resize(kept);
  }

  std::vector<Copy> copies_;
  int open_group_ = 0;
};

}  // namespace hone::emulator
