#include <hone/quant/dynamic_map.hpp>

#include <doctest/doctest.h>

#include "support/optimizer_golden.hpp"

using namespace hone;
using namespace hone::test;

namespace {

/// By looking at every code.
int nearest_of_all(const DynamicMap& map, float x) {
  int code = 0;
  while (code < 255 && map.bounds[code + 1] < x) ++code;
  return code;
}

/// Floats around every bound and every power of ten, and others over the whole range.
template <bool WithSign>
void check_every_place(const DynamicMap& map) {
  std::int64_t wrong = 0;
  const auto check_one = [&](float x) {
    if (x > 1 || x < (WithSign ? -1.0f : 0.0f)) return;
    wrong += nearest_dynamic_code<WithSign>(map.bounds, x) == nearest_of_all(map, x) ? 0 : 1;
  };
  const auto around = [&](float x) {
    float up = x, down = x;
    for (int i = 0; i < 20; ++i, up = std::nextafter(up, 2.0f), down = std::nextafter(down, -2.0f)) {
      check_one(up);
      check_one(down);
    }
  };
  for (int i = 1; i < 256; ++i) around(map.bounds[i]);
  for (const float value : map.values) around(value);
  for (int power = -9; power <= 0; ++power)
    for (const float sign : {1.0f, -1.0f}) around(sign * static_cast<float>(std::pow(10.0, power)));
  for (std::uint32_t bits = 0; bits <= std::bit_cast<std::uint32_t>(1.0f); bits += 40009)
    for (const float sign : {1.0f, -1.0f}) check_one(sign * std::bit_cast<float>(bits));
  CHECK(wrong == 0);
}

constexpr DynamicMap with_sign = dynamic_map_of(true), without = dynamic_map_of(false);

/// The codes and scales of numbers, in blocks.
template <bool WithSign>
void check_codes(const std::vector<float>& values, const DynamicMap& map, const nlohmann::json& golden) {
  const auto codes = from_hex(golden.at("codes").get<std::string>(), 2);
  const auto scales = floats_of(golden.at("absmax"));
  REQUIRE(codes.size() == values.size());
  for (std::size_t block = 0; block * 256 < values.size(); ++block) {
    float absmax = 0;
    for (std::size_t i = 0; i < 256; ++i) absmax = std::max(absmax, std::abs(values[256 * block + i]));
    CHECK(absmax == scales[block]);
    for (std::size_t i = 256 * block; i < 256 * block + 256; ++i)
      CHECK(nearest_dynamic_code<WithSign>(map.bounds, values[i] * one_over_absmax(absmax)) ==
            static_cast<int>(codes[i]));
  }
}

}  // namespace

TEST_CASE("dynamic maps have bitsandbytes' bits") {
  const auto golden = optimizer_golden();
  CHECK(floats_of(golden.at("signed_map")) == std::vector<float>(with_sign.values, with_sign.values + 256));
  CHECK(floats_of(golden.at("unsigned_map")) == std::vector<float>(without.values, without.values + 256));
  CHECK(with_sign.values[127] == 0.0f);
  CHECK(without.values[0] == 0.0f);
}

TEST_CASE("the nearest code is found at every bound, and of two equally near it is the lower") {
  check_every_place<true>(with_sign);
  check_every_place<false>(without);
  for (int i = 0; i < 256; ++i) {
    CHECK(nearest_dynamic_code<true>(with_sign.bounds, with_sign.values[i]) == i);
    CHECK(nearest_dynamic_code<false>(without.bounds, without.values[i]) == i);
  }
  for (int i = 1; i < 256; ++i) CHECK(nearest_dynamic_code<true>(with_sign.bounds, with_sign.bounds[i]) == i - 1);
  CHECK(nearest_dynamic_code<true>(with_sign.bounds, std::numeric_limits<float>::quiet_NaN()) == 127);
}

TEST_CASE("codes and scales of blocks are bitsandbytes'") {
  const auto golden = optimizer_golden();
  auto values = golden_spread(768, 3);
  check_codes<true>(values, with_sign, golden.at("signed"));
  for (float& value : values) value = std::abs(value);
  check_codes<false>(values, without, golden.at("unsigned"));
  CHECK(0.0f * one_over_absmax(0.0f) == 0.0f);
}
