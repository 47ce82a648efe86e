// A file seen as memory: weights are read from the map straight into their slab, so the host never holds them twice.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/read_file.hpp>

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <utility>

namespace hone {

/// A read-only map of a regular file. Empty files give an empty span. A file that another program shortens while it is
/// mapped kills the process with SIGBUS, as with every mmap: hone never rewrites a file in place (io/atomic_file.hpp).
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(std::filesystem::path path) : path_(std::move(path)) {
    const auto [file, size] = open_for_reading(path_);
    check(std::cmp_less_equal(size, std::numeric_limits<std::size_t>::max()),
          "[{}] has {} bytes, more than this machine can map", path_.string(), size);
    if (size == 0) return;  // mmap refuses a length of 0
    void* start = ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ, MAP_PRIVATE, file.get(), 0);
    check(start != MAP_FAILED, "[{}] cannot be mapped ({} bytes): {}", path_.string(), size, std::strerror(errno));
    start_ = start;
    size_ = static_cast<std::size_t>(size);
  }

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~MappedFile() {
    if (start_ != nullptr) ::munmap(start_, size_);
  }

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(start_), size_}; }
  std::int64_t size() const { return static_cast<std::int64_t>(size_); }
  const std::filesystem::path& path() const { return path_; }

  /// Hands the pages read so far back to the system. The map stays valid; a later access reads from disk again.
  void release() const {
    // Advice only: when the system declines, memory is used for longer, and nothing else changes.
    if (start_ != nullptr) static_cast<void>(::madvise(start_, size_, MADV_DONTNEED));
  }

 private:
  void swap(MappedFile& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(start_, other.start_);
    std::swap(size_, other.size_);
  }

  std::filesystem::path path_;
  void* start_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace hone
