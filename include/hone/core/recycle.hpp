// A recycling allocator for the engine's own small objects (storage headers, gradient slots, tape nodes): a training
// step makes the same ones over and over, and after the first step the system is asked for nothing more.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace hone {
namespace detail {

/// Free blocks of one size and alignment, kept per thread. A block may be freed on another thread than the one it came
/// from; it then joins that thread's list.
template <std::size_t Bytes, std::size_t Align>
class FreeList {
 public:
  void* take() {
    if (blocks_.empty()) return ::operator new (Bytes, std::align_val_t{Align});
    void* block = blocks_.back();
    blocks_.pop_back();
    return block;
  }
  void give(void* block) noexcept {
    try {
      blocks_.push_back(block);
    } catch (const std::bad_alloc&) {
      ::operator delete (block, std::align_val_t{Align});
    }
  }
  ~FreeList() {
    closed() = true;
    for (void* block : blocks_) ::operator delete (block, std::align_val_t{Align});
  }

  /// The calling thread's list, or null once that thread is going down (objects with static lifetime die later).
  static FreeList* mine() {
    if (closed()) return nullptr;
    thread_local FreeList list;
    return &list;
  }

 private:
  static bool& closed() {
    thread_local bool value = false;
    return value;
  }
  std::vector<void*> blocks_;
};

}  // namespace detail

/// A standard allocator over the free lists, for std::allocate_shared.
template <class T>
struct Recycling {
  using value_type = T;
  Recycling() = default;
  template <class U>
  Recycling(const Recycling<U>&) {}  // NOLINT: allocators convert

  T* allocate(std::size_t count) {
    using List = detail::FreeList<sizeof(T), alignof(T)>;
    List* list = count == 1 ? List::mine() : nullptr;
    if (list == nullptr) return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{alignof(T)}));
    return static_cast<T*>(list->take());
  }
  void deallocate(T* block, std::size_t count) noexcept {
    using List = detail::FreeList<sizeof(T), alignof(T)>;
    List* list = count == 1 ? List::mine() : nullptr;
    if (list == nullptr) return ::operator delete (block, std::align_val_t{alignof(T)});
    list->give(block);
  }
  template <class U>
  bool operator==(const Recycling<U>&) const {
    return true;
  }
};

/// std::make_shared from recycled memory.
template <class T, class... Args>
std::shared_ptr<T> make_recycled(Args&&... args) {
  return std::allocate_shared<T>(Recycling<T>{}, std::forward<Args>(args)...);
}

}  // namespace hone
