// Storage: one allocation, shared by the tensors that look at it.
#pragma once

#include <hone/core/recycle.hpp>
#include <hone/tensor/device.hpp>

#include <cstdint>
#include <memory>
#include <string_view>

namespace hone {

template <Device D>
class Storage {
 public:
  Storage(const D& device, std::int64_t bytes, Category category, std::string_view name)
      : device_(device), block_(device.memory().allocate(bytes, category, name)) {}
  ~Storage() { device_.memory().release(block_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const D& device() const { return device_; }
  std::byte* data() const { return block_.data; }
  Category category() const { return block_.entry->category; }

 private:
  D device_;
  Block block_;
};

}  // namespace hone
