// Files appear whole or not at all: write a temporary beside the target, fsync it, rename it, fsync the folder.
// A crash, a full disk or an exception at any point leaves the old file as it was.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/byte_reader.hpp>
#include <hone/io/read_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hone {

namespace detail {

/// Writes all of `bytes`; short writes go on, and an error names `path` and the system's reason (disk full, EIO, ...).
inline void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const auto written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    check(written >= 0, "[{}] cannot be written: {}", path.string(), std::strerror(errno));
    // POSIX allows 0 for a device that takes nothing; going on would never end.
    check(written > 0, "[{}] cannot be written: the system takes no more bytes", path.string());
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

/// fsync of an open file or folder. File systems that cannot sync a folder say EINVAL, which loses nothing they offer.
inline void sync_descriptor(int descriptor, const std::filesystem::path& path, bool folder) {
  while (::fsync(descriptor) != 0) {
    if (errno == EINTR) continue;
    if (folder && errno == EINVAL) return;
    fail("[{}] cannot be made durable (fsync): {}", path.string(), std::strerror(errno));
  }
}

inline std::filesystem::path folder_of(const std::filesystem::path& path) {
  const auto folder = path.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

/// Makes the names in a folder durable: a rename survives a power cut only after this.
inline void sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  check(opened.get() >= 0, "[{}] cannot be opened: {}", folder.string(), std::strerror(errno));
  sync_descriptor(opened.get(), folder, true);
}

inline void rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
  check(std::rename(from.c_str(), to.c_str()) == 0, "[{}] cannot take the place of {}: {}", from.string(), to.string(),
        std::strerror(errno));
}

/// ".name.tmp-<pid>-<n>" beside `path`: the same file system, so that rename is atomic, and no other writer's name.
inline std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  static std::atomic<std::uint64_t> counter{0};
  return folder_of(path) / fmt::format(".{}.tmp-{}-{}", path.filename().string(), ::getpid(), counter++);
}

}  // namespace detail

/// Writes one file atomically. Nothing is seen under `path` before commit(); without commit() the temporary goes.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path)
      : path_(std::move(path)), temporary_(detail::temporary_beside(path_)) {
    check(path_.has_filename(), "[{}] is not a file name to write to", path_.string());
    struct stat status {};
    // Renaming over a device would replace the device; a folder needs AtomicFolder.
    const bool exists = ::lstat(path_.c_str(), &status) == 0;
    check(!exists || S_ISREG(status.st_mode) || S_ISLNK(status.st_mode),
          "[{}] exists and is not a regular file; it is left as it is", path_.string());
    file_ = FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    check(file_.get() >= 0, "[{}] cannot be created: {}", path_.string(), std::strerror(errno));
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (!committed_ && file_.get() >= 0) ::unlink(temporary_.c_str());
  }

  /// Appends bytes; large pieces are best, since nothing is buffered.
  void write(std::span<const std::byte> bytes) {
    detail::write_all(file_.get(), bytes, path_);
    written_ += static_cast<std::int64_t>(bytes.size());
  }
  void write(std::string_view text) { write(as_bytes(text)); }

  std::int64_t written() const { return written_; }
  const std::filesystem::path& path() const { return path_; }

  /// Makes the content durable and gives it its name. After an Error the old file, if any, still stands.
  void commit() {
    check(!committed_, "[{}] was committed twice", path_.string());
    detail::sync_descriptor(file_.get(), path_, false);
    detail::rename_path(temporary_, path_);
    committed_ = true;
    // From here the new file stands whatever happens; an error below means only that a power cut may undo it.
    detail::sync_folder(detail::folder_of(path_));
    check(::close(file_.release()) == 0, "[{}] cannot be closed: {}", path_.string(), std::strerror(errno));
  }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor file_;
  std::int64_t written_ = 0;
  bool committed_ = false;
};

/// Writes `text` to `path` atomically.
inline void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace hone
