#include <hone/io/atomic_folder.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <string>

#include "support/files.hpp"

using hone::AtomicFolder;
using hone::test::contains;
using hone::test::get;
using hone::test::message_of;
using hone::test::put;

namespace {

std::ptrdiff_t entries_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

}  // namespace

TEST_CASE("atomic_folder: a new folder appears whole") {
  const hone::test::TemporaryFolder root;
  const auto target = root / "runs/last";
  AtomicFolder folder(target);
  put(folder.path() / "a", "1");
  std::filesystem::create_directory(folder.path() / "sub");
  put(folder.path() / "sub" / "b", "2");
  CHECK_FALSE(std::filesystem::exists(target));
  folder.commit();
  CHECK(get(target / "a") == "1");
  CHECK(get(target / "sub" / "b") == "2");
  CHECK(entries_in(root / "runs") == 1);
}

TEST_CASE("atomic_folder: a replaced folder keeps nothing of the old one") {
  const hone::test::TemporaryFolder root;
  const auto target = root / "last";
  std::filesystem::create_directory(target);
  put(target / "old-only", "x");
  AtomicFolder folder(target.string() + "/");
  put(folder.path() / "a", "new");
  CHECK(get(target / "old-only") == "x");
  folder.commit();
  CHECK(get(target / "a") == "new");
  CHECK_FALSE(std::filesystem::exists(target / "old-only"));
  CHECK(entries_in(root.path()) == 1);
}

TEST_CASE("atomic_folder: without commit the old folder stands alone") {
  const hone::test::TemporaryFolder root;
  const auto target = root / "last";
  std::filesystem::create_directory(target);
  put(target / "a", "old");
  {
    AtomicFolder folder(target);
    put(folder.path() / "a", "half");
  }
  CHECK(get(target / "a") == "old");
  CHECK(entries_in(root.path()) == 1);
}

TEST_CASE("atomic_folder: replacing by two renames, where names cannot be swapped, undoes a failure") {
  const hone::test::TemporaryFolder root;
  for (const auto* name : {"last", "new"}) {
    std::filesystem::create_directory(root / name);
    put(root / name / "a", name);
  }
  hone::detail::replace_by_renames(root / "new", root / "last", root / "last.old-1");
  CHECK(get(root / "last/a") == "new");
  CHECK(get(root / "last.old-1/a") == "last");
  CHECK(
      contains(message_of([&] { hone::detail::replace_by_renames(root / "none", root / "last", root / "last.old-2"); }),
               "cannot take the place of"));
  CHECK(get(root / "last/a") == "new");
}

TEST_CASE("atomic_folder: what a killed process left is settled") {
  const hone::test::TemporaryFolder root;
  const auto target = root / "last";
  // Killed between the two renames of a file system that cannot swap names.
  std::filesystem::create_directory(root / "last.old-7");
  put(root / "last.old-7/a", "old");
  std::filesystem::create_directory(root / "last.tmp-7");
  std::filesystem::create_directory(root / "lasting.tmp-7");
  hone::settle_folder(target);
  CHECK(get(target / "a") == "old");
  CHECK(entries_in(root.path()) == 2);
  // Killed after the new folder stood.
  std::filesystem::create_directory(root / "last.old-8");
  put(root / "last.old-8/a", "older");
  hone::settle_folder(target);
  CHECK(get(target / "a") == "old");
  CHECK(entries_in(root.path()) == 2);
}

TEST_CASE("atomic_folder: a file in the way is left alone") {
  const hone::test::TemporaryFolder root;
  put(root / "file", "x");
  CHECK(contains(message_of([&] { AtomicFolder folder(root / "file"); }), "is not a folder"));
  CHECK(contains(message_of([&] { AtomicFolder folder(root / "file/sub"); }), "cannot be created"));
  CHECK(get(root / "file") == "x");
}
