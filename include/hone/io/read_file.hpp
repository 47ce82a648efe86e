// Reads one small file whole (configs, tokenizers, text); weights go through io/mapped_file.hpp instead.
#pragma once

#include <hone/core/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

namespace hone {

/// Owns a POSIX file descriptor and closes it.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileDescriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  int get() const { return descriptor_; }
  /// Gives the descriptor away, for callers that must see what close() returns.
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_ = -1;
};

/// Opens a regular file for reading and tells its size in bytes. Errors name the path and the system's reason.
inline std::pair<FileDescriptor, std::int64_t> open_for_reading(const std::filesystem::path& path) {
  // O_NONBLOCK: a FIFO in place of a file must be refused below, not waited for.
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  check(file.get() >= 0, "[{}] cannot be opened: {}", path.string(), std::strerror(errno));
  struct stat status {};
  check(::fstat(file.get(), &status) == 0, "[{}] cannot be examined: {}", path.string(), std::strerror(errno));
  check(!S_ISDIR(status.st_mode), "[{}] is a folder; a file was expected", path.string());
  check(S_ISREG(status.st_mode), "[{}] is not a regular file", path.string());
  return {std::move(file), std::int64_t{status.st_size}};
}

/// The bytes of a file of at most `limit` bytes. Errors name the path.
inline std::string read_file(const std::filesystem::path& path, std::int64_t limit = std::int64_t{1} << 31) {
  auto [file, size] = open_for_reading(path);
  check(size <= limit, "[{}] has {} bytes; at most {} are read whole", path.string(), size, limit);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const auto got = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    check(got >= 0, "[{}] cannot be read: {}", path.string(), std::strerror(errno));
    check(got > 0, "[{}] ended after {} of {} bytes; is something else writing it?", path.string(), filled, size);
    filled += static_cast<std::size_t>(got);
  }
  return bytes;
}

}  // namespace hone
