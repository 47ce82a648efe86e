// A hash table from 64-bit keys to small values: one array, linear probing, no removal. Looking up a merge is the inner
// loop of BPE, and a node-based map spends most of it on cache misses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace hone {

/// Keys are any 64-bit numbers but the largest, which marks an empty slot.
template <class Value>
class FlatMap {
 public:
  explicit FlatMap(std::size_t expected = 0) { rehash(expected); }

  /// Sets the value of `key`; the last one given wins.
  void set(std::uint64_t key, Value value) {
    if (2 * (size_ + 1) > slots_.size()) rehash(size_ + 1);
    auto& slot = slots_[probe(key)];
    size_ += slot.key == empty;
    slot = {key, value};
  }

  /// The value of `key`, or null.
  const Value* find(std::uint64_t key) const {
    const auto& slot = slots_[probe(key)];
    return slot.key == empty ? nullptr : &slot.value;
  }

  std::size_t size() const { return size_; }

 private:
  static constexpr std::uint64_t empty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = empty;
    Value value{};
  };

  std::size_t probe(std::uint64_t key) const {
    // Fibonacci hashing: the product's high bits depend on every bit of the key.
    auto at = static_cast<std::size_t>(key * 0x9E3779B97F4A7C15u >> shift_);
    while (slots_[at].key != key && slots_[at].key != empty) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  void rehash(std::size_t expected) {
    int bits = 4;
    while ((std::size_t{1} << bits) < 3 * expected) ++bits;
    auto old = std::exchange(slots_, std::vector<Slot>(std::size_t{1} << bits));
    shift_ = 64 - bits;
    for (const auto& slot : old) {
      if (slot.key != empty) slots_[probe(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
  int shift_ = 60;
};

}  // namespace hone
