#include <hone/io/atomic_file.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "support/files.hpp"

using hone::AtomicFile;
using hone::test::contains;
using hone::test::get;
using hone::test::message_of;
using hone::test::put;

namespace {

std::ptrdiff_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

/// While it lives, no file of this process grows beyond `bytes`: write() fails as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    previous_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limited{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limited);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, previous_);
  }

 private:
  rlimit old_{};
  void (*previous_)(int) = nullptr;
};

}  // namespace

TEST_CASE("atomic_file: nothing is seen before commit, everything after") {
  const hone::test::TemporaryFolder folder;
  const auto path = folder / "a.txt";
  put(path, "old");
  {
    AtomicFile file(path);
    file.write("new ");
    file.write("content");
    CHECK(file.written() == 11);
    CHECK(get(path) == "old");
    file.commit();
    CHECK(contains(message_of([&] { file.commit(); }), "twice"));
  }
  CHECK(get(path) == "new content");
  CHECK(files_in(folder.path()) == 1);
  hone::write_file(folder / "b.txt", "");
  CHECK(get(folder / "b.txt").empty());
}

TEST_CASE("atomic_file: without commit the old file stands and no temporary stays") {
  const hone::test::TemporaryFolder folder;
  const auto path = folder / "a.txt";
  put(path, "old");
  { AtomicFile(path).write("half"); }
  CHECK(get(path) == "old");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("atomic_file: a full disk is an Error that names the file and keeps the old one") {
  const hone::test::TemporaryFolder folder;
  const auto path = folder / "a.txt";
  put(path, "old");
  std::string text;
  {
    const FileSizeLimit limit(1000);
    text = message_of([&] { hone::write_file(path, std::string(5000, 'x')); });
  }
  CHECK(text == "[" + path.string() + "] cannot be written: File too large");
  CHECK(get(path) == "old");
  CHECK(files_in(folder.path()) == 1);

  const hone::FileDescriptor full(::open("/dev/full", O_WRONLY));
  REQUIRE(full.get() >= 0);
  CHECK(message_of([&] { hone::detail::write_all(full.get(), hone::as_bytes("x"), "out.bin"); }) ==
        "[out.bin] cannot be written: No space left on device");
}

TEST_CASE("atomic_file: targets that cannot be are refused before anything is written") {
  const hone::test::TemporaryFolder folder;
  CHECK(contains(message_of([&] { AtomicFile file(folder / "none/a.txt"); }), "No such file or directory"));
  CHECK(contains(message_of([&] { AtomicFile file(folder.path()); }), "not a regular file"));
  CHECK(contains(message_of([&] { AtomicFile file("/dev/full"); }), "[/dev/full] exists and is not a regular file"));
  CHECK(contains(message_of([&] { AtomicFile file(""); }), "not a file name"));
  CHECK(files_in(folder.path()) == 0);
}

TEST_CASE("atomic_file: two writers of one name do not meet") {
  const hone::test::TemporaryFolder folder;
  AtomicFile first(folder / "a");
  AtomicFile second(folder / "a");
  first.write("1");
  second.write("22");
  second.commit();
  first.commit();
  CHECK(get(folder / "a") == "1");
}
