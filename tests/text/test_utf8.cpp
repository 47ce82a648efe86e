#include <hone/text/utf8.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

TEST_CASE("utf8: every code point survives encoding and decoding") {
  std::string all;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    append_utf8(c, all);
  }
  CHECK(is_valid_utf8(all));
  char32_t expected = 0;
  bool in_order = true;
  for_each_code_point(all, [&](char32_t c, std::size_t, std::size_t) {
    in_order = in_order && c == expected;
    expected = expected == 0xD7FF ? 0xE000 : expected + 1;
  });
  CHECK(in_order);
  CHECK(expected == 0x110000);
}

TEST_CASE("utf8: broken sequences become one U+FFFD for each longest beginning of a character") {
  // The examples of the Unicode standard, section 3.9, tables 3-8 to 3-11.
  const std::string r(utf8_replacement);
  CHECK(repair_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(repair_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(repair_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == r + r + r + r + r + "A" + r + r + "B");
  CHECK(repair_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == r + r + r + r + "A");
  CHECK(repair_utf8("a\xE4\xB8") == "a" + r);
  CHECK(repair_utf8("") == "");
  CHECK(repair_utf8(std::string_view("a\0b", 3)) == std::string("a\0b", 3));
  CHECK_FALSE(is_valid_utf8("\xF4\x90\x80\x80"));
  CHECK_FALSE(is_valid_utf8("a\xC3"));
}

TEST_CASE("utf8: a stream gives the same text however the bytes are cut, and only whole characters") {
  const std::string bytes = "a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\xA6\x99\xFF\xE4\xB8z\xF0\x9F";
  const auto whole = repair_utf8(bytes);
  for (std::size_t first = 0; first <= bytes.size(); ++first) {
    for (std::size_t second = first; second <= bytes.size(); ++second) {
      Utf8Stream stream;
      std::string out;
      for (const auto& part : {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)}) {
        stream.push(part, out);
        REQUIRE(is_valid_utf8(out));
      }
      stream.finish(out);
      REQUIRE(out == whole);
    }
  }
}

TEST_CASE("utf8: the last character of a text is found") {
  CHECK(utf8_last("a") == 0);
  CHECK(utf8_last("ab\xF0\x9F\xA6\x99") == 2);
}

}  // namespace hone
