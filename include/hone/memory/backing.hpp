// Backing: where a Memory's bytes come from. Host memory by default; a device brings its own.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace hone {

class Backing {
 public:
  virtual ~Backing() = default;

  /// `bytes`, a multiple of `alignment` and not 0, at a multiple of it; null when there are none left.
  virtual std::byte* allocate(std::size_t bytes, std::size_t alignment) = 0;
  virtual void release(std::byte* data) noexcept = 0;
  /// The same of the host's memory, where a device's copies read and write while the host goes on.
  virtual std::byte* allocate_host(std::size_t bytes, std::size_t alignment) {
    return static_cast<std::byte*>(std::aligned_alloc(alignment, bytes));
  }
  virtual void release_host(std::byte* data) noexcept { std::free(data); }
  /// Fills bytes of either with 0xff, which is NaN in every floating type.
  virtual void poison(std::byte* data, std::size_t bytes) = 0;
  /// A line for an out-of-memory message that says how full this memory is; may be empty.
  virtual std::string state() const { return {}; }
};

class HostBacking final : public Backing {
 public:
  std::byte* allocate(std::size_t bytes, std::size_t alignment) override { return allocate_host(bytes, alignment); }
  void release(std::byte* data) noexcept override { release_host(data); }
  void poison(std::byte* data, std::size_t bytes) override { std::memset(data, 0xff, bytes); }
};

}  // namespace hone
