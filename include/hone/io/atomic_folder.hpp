// Whole folders (checkpoints, models, adapters) replaced in one step; the old one stands until the new one does.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/atomic_file.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace hone {

namespace detail {

/// fsync of every file below `folder`, then of every folder, innermost first.
inline void sync_tree(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_symlink()) continue;
    if (entry.is_directory()) {
      sync_tree(entry.path());
    } else if (entry.is_regular_file()) {
      const auto [file, size] = open_for_reading(entry.path());
      sync_descriptor(file.get(), entry.path(), false);
    }
  }
  sync_folder(folder);
}

/// "runs/last/" and "runs/last" are the same folder; siblings are named after the second form.
inline std::filesystem::path without_trailing_slash(const std::filesystem::path& path) {
  auto out = path.lexically_normal();
  return out.has_filename() ? out : out.parent_path();
}

inline std::filesystem::path sibling(const std::filesystem::path& path, const std::string& suffix) {
  return folder_of(path) / (path.filename().string() + suffix);
}

/// Folders beside `path` called `<name><infix>...`, left by a process that was killed.
inline std::vector<std::filesystem::path> siblings_with(const std::filesystem::path& path, const std::string& infix) {
  const auto prefix = path.filename().string() + infix;
  std::vector<std::filesystem::path> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(path), none))
    if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
  return found;
}

/// Swaps two names in one step, where kernel and file system can (Linux, most local file systems).
inline bool exchange_names(const std::filesystem::path& a, const std::filesystem::path& b) {
#ifdef RENAME_EXCHANGE
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
#else
  static_cast<void>(a);
  static_cast<void>(b);
  return false;
#endif
}

/// The same in two steps, for other file systems: `target` becomes `old`, `fresh` becomes `target`. When the second
/// step fails, the first is undone; when the machine stops between them, settle_folder undoes it.
inline void replace_by_renames(const std::filesystem::path& fresh, const std::filesystem::path& target,
                               const std::filesystem::path& old) {
  rename_path(target, old);
  try {
    rename_path(fresh, target);
  } catch (...) {
    std::rename(old.c_str(), target.c_str());  // the failure that is reported is the one caught here
    throw;
  }
}

}  // namespace detail

/// A folder under construction: files go to path(), and commit() puts it in place of `target`, old content and all.
/// Without commit() it is removed. The parent of `target` is created when missing.
class AtomicFolder {
 public:
  explicit AtomicFolder(const std::filesystem::path& target)
      : target_(detail::without_trailing_slash(target)),
        temporary_(detail::sibling(target_, fmt::format(".tmp-{}", ::getpid()))) {
    std::error_code error;
    const bool usable = !std::filesystem::exists(target_, error) || std::filesystem::is_directory(target_, error);
    check(usable && target_.has_filename(), "[{}] is not a folder; it is left as it is", target_.string());
    std::filesystem::create_directories(detail::folder_of(target_), error);
    if (!error) std::filesystem::remove_all(temporary_, error);
    if (!error) std::filesystem::create_directory(temporary_, error);
    check(!error, "[{}] cannot be created: {}", temporary_.string(), error.message());
  }
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  ~AtomicFolder() {
    std::error_code ignored;
    if (!committed_) std::filesystem::remove_all(temporary_, ignored);
  }

  /// Where to write; a sibling of the target until commit().
  const std::filesystem::path& path() const { return temporary_; }

  /// Makes everything durable and gives it the target's name. After an Error the old folder still stands (or, where the
  /// file system cannot swap names and the machine stopped between two renames, settle_folder brings it back).
  void commit() {
    check(!committed_, "[{}] was committed twice", target_.string());
    detail::sync_tree(temporary_);
    std::error_code ignored;
    if (!std::filesystem::exists(target_, ignored)) {
      detail::rename_path(temporary_, target_);
      committed_ = true;
      detail::sync_folder(detail::folder_of(target_));
      return;
    }
    const auto old = replace_target();
    committed_ = true;
    detail::sync_folder(detail::folder_of(target_));
    std::filesystem::remove_all(old, ignored);  // what stays behind is found by settle_folder
  }

 private:
  /// Puts the new folder under the target's name and tells where the old one went.
  std::filesystem::path replace_target() {
    if (detail::exchange_names(temporary_, target_)) return temporary_;
    const auto old = detail::sibling(target_, fmt::format(".old-{}", ::getpid()));
    detail::replace_by_renames(temporary_, target_, old);
    return old;
  }

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

/// Throws unless `folder` may be replaced by a saved model or adapter: it is missing, or holds nothing but files of the
/// kinds such a folder has. Anything else in it is somebody's work.
inline void check_replaceable(const std::filesystem::path& folder) {
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
    const auto extension = entry.path().extension();
    const bool known = extension == ".safetensors" || extension == ".json" || extension == ".model" ||
                       extension == ".txt" || extension == ".jinja" || extension == ".md";
    check(entry.is_regular_file() && known,
          "[{}] is not replaced: it holds {}, which is no part of a model; choose another folder", folder.string(),
          entry.path().filename().string());
  }
}

/// Repairs what a killed process left beside `target`: brings the old folder back if no folder has the name, and
/// removes unfinished and replaced ones. To be called before a run starts to write there, when no other run does.
inline void settle_folder(const std::filesystem::path& target) {
  const auto path = detail::without_trailing_slash(target);
  std::error_code ignored;
  for (const auto& old : detail::siblings_with(path, ".old-")) {
    if (!std::filesystem::exists(path, ignored))
      detail::rename_path(old, path);
    else
      std::filesystem::remove_all(old, ignored);
  }
  for (const auto& unfinished : detail::siblings_with(path, ".tmp-")) std::filesystem::remove_all(unfinished, ignored);
}

}  // namespace hone
