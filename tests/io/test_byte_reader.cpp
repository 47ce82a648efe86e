#include <hone/io/byte_reader.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "support/files.hpp"

using hone::ByteReader;
using hone::test::contains;
using hone::test::message_of;

TEST_CASE("byte_reader: numbers are little-endian and need no alignment") {
  const std::string text("\x01\x02\x03\x00\x00\x80\x3f\xff\xff\xff\xff\xff\xff\xff\xff", 15);
  ByteReader reader(hone::as_bytes(text), "f.bin");
  CHECK(reader.read<std::uint8_t>("a") == 1);
  CHECK(reader.read<std::uint16_t>("b") == 0x0302);
  CHECK(reader.read<float>("c") == 1.0f);
  CHECK(reader.position() == 7);
  CHECK(reader.read<std::int64_t>("d") == -1);
  CHECK(reader.remaining() == 0);
}

TEST_CASE("byte_reader: every read beyond the end is refused, also with counts that wrap") {
  const std::string text = "abcdefgh";
  for (const auto count : {std::uint64_t{9}, std::uint64_t{1} << 63, std::numeric_limits<std::uint64_t>::max()}) {
    ByteReader reader(hone::as_bytes(text), "f.bin", 100);
    reader.take(3, "head");
    CHECK(contains(message_of([&] { reader.take(count, "name"); }), "[f.bin] byte 103: name needs"));
    CHECK(reader.text(5, "rest") == "defgh");
    CHECK(contains(message_of([&] { reader.read<std::uint8_t>("tail"); }), "tail needs 1 bytes, 0 are left"));
  }
  for (std::size_t size = 0; size < 8; ++size) {
    ByteReader reader(hone::as_bytes(text).first(size), "f");
    CHECK_THROWS_AS(reader.read<std::uint64_t>("n"), hone::Error);
  }
}

TEST_CASE("byte_reader: alignment counts from the file's start") {
  const std::string text(64, 'x');
  ByteReader reader(hone::as_bytes(text), "f", 5);
  reader.align(32, "padding");
  CHECK(reader.position() == 32);
  reader.align(32, "padding");
  CHECK(reader.position() == 32);
  CHECK(contains(message_of([&] { reader.align(3, "padding"); }), "not a power of two"));
  reader.take(1, "x");
  CHECK_THROWS_AS(reader.align(128, "padding"), hone::Error);
}

TEST_CASE("byte_reader: copy_elements takes exactly the bytes of its elements") {
  const std::array<std::int32_t, 3> source{1, -2, 3};
  const auto bytes = std::as_bytes(std::span(source));
  std::array<std::int32_t, 3> out{};
  hone::copy_elements(bytes, out.data(), 3, "[f] tensor 't'");
  CHECK(out == source);
  CHECK(message_of([&] { hone::copy_elements(bytes, out.data(), 2, "[f] tensor 't'"); }) ==
        "[f] tensor 't': 12 bytes where 8 were expected");
  CHECK_THROWS_AS(hone::copy_elements(bytes, out.data(), std::numeric_limits<std::int64_t>::max(), "t"), hone::Error);
  hone::copy_elements<std::int32_t>({}, nullptr, 0, "t");
}
