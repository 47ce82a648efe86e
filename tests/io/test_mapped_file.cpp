#include <hone/io/mapped_file.hpp>

#include <hone/io/byte_reader.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "support/files.hpp"

using hone::MappedFile;
using hone::test::contains;
using hone::test::message_of;

TEST_CASE("mapped_file: content, size and release") {
  const hone::test::TemporaryFolder folder;
  const std::string text(100000, 'q');
  hone::test::put(folder / "f", text);
  const MappedFile map(folder / "f");
  CHECK(map.size() == 100000);
  CHECK(hone::as_text(map.bytes()) == text);
  map.release();
  CHECK(hone::as_text(map.bytes()) == text);
}

TEST_CASE("mapped_file: empty files are empty spans, and moves carry the map") {
  const hone::test::TemporaryFolder folder;
  hone::test::put(folder / "empty", "");
  MappedFile map(folder / "empty");
  CHECK(map.bytes().empty());
  map.release();
  hone::test::put(folder / "f", "abc");
  MappedFile other(folder / "f");
  map = std::move(other);
  CHECK(hone::as_text(map.bytes()) == "abc");
  const MappedFile third(std::move(map));
  CHECK(hone::as_text(third.bytes()) == "abc");
  CHECK(third.path().filename() == "f");
}

TEST_CASE("mapped_file: errors name the path") {
  const hone::test::TemporaryFolder folder;
  const auto missing = (folder / "none").string();
  CHECK(message_of([&] { MappedFile map(missing); }) ==
        "[" + missing + "] cannot be opened: No such file or directory");
  CHECK(contains(message_of([&] { MappedFile map(folder.path()); }), "is a folder"));
  CHECK(contains(message_of([&] { MappedFile map("/dev/zero"); }), "not a regular file"));
}
