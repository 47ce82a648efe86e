#include <hone/text/flat_map.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <unordered_map>

namespace hone {

TEST_CASE("flat map: agrees with the standard map, growing from nothing") {
  std::mt19937_64 random(7);
  FlatMap<std::int32_t> map;
  std::unordered_map<std::uint64_t, std::int32_t> expected;
  CHECK(map.find(0) == nullptr);
  for (std::int32_t i = 0; i < 20000; ++i) {
    // Few distinct low bits and many repeats: clusters and overwrites.
    const std::uint64_t key = random() % 5000 << (i % 3 * 20);
    map.set(key, i);
    expected[key] = i;
  }
  CHECK(map.size() == expected.size());
  for (const auto& [key, value] : expected) {
    REQUIRE(map.find(key) != nullptr);
    REQUIRE(*map.find(key) == value);
  }
  for (std::uint64_t key = 5000; key < 6000; ++key) {
    if (!expected.contains(key)) REQUIRE(map.find(key) == nullptr);
  }
}

}  // namespace hone
