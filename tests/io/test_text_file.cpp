#include <hone/io/text_file.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "support/files.hpp"

using hone::test::message_of;
using hone::test::put;

TEST_CASE("text_file: lines end with LF or CRLF, the last also with nothing") {
  using Lines = std::vector<std::string_view>;
  CHECK(hone::split_lines("") == Lines{});
  CHECK(hone::split_lines("a") == Lines{"a"});
  CHECK(hone::split_lines("a\n") == Lines{"a"});
  CHECK(hone::split_lines("a\r\nb\n\nc\r") == Lines{"a", "b", "", "c\r"});
  CHECK(hone::split_lines("\n\n") == Lines{"", ""});
  CHECK(hone::split_lines("a\rb\r\r\n") == Lines{"a\rb\r"});
}

TEST_CASE("text_file: a byte order mark is dropped, CRLF kept or made LF as asked") {
  const hone::test::TemporaryFolder folder;
  put(folder / "t", "\xef\xbb\xbfh\xc3\xa9\r\nx\r\n\r");
  CHECK(hone::read_text(folder / "t") == "h\xc3\xa9\r\nx\r\n\r");
  CHECK(hone::read_text_unix(folder / "t") == "h\xc3\xa9\nx\n\r");
  CHECK(hone::read_lines(folder / "t") == std::vector<std::string>{"h\xc3\xa9", "x", "\r"});
  put(folder / "empty", "");
  CHECK(hone::read_text(folder / "empty").empty());
  CHECK(hone::read_lines(folder / "empty").empty());
}

TEST_CASE("text_file: text that is not UTF-8 names file, line and byte") {
  const hone::test::TemporaryFolder folder;
  const auto path = (folder / "t").string();
  put(path, "ok\n\xc3\xa9 caf\xe9 au lait\n");
  CHECK(message_of([&] { hone::read_text(path); }) ==
        "[" + path + "] line 2, byte 7: not UTF-8 (byte 0xe9); save the file as UTF-8");
  put(path, "\xff");
  CHECK(message_of([&] { hone::read_lines(path); }).find("line 1, byte 1:") != std::string::npos);
  put(path, "a\r\nb\xe2\x82");
  CHECK(message_of([&] { hone::read_lines(path); }).find("line 2, byte 2:") != std::string::npos);
}
