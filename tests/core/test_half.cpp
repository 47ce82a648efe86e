#include <hone/core/half.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using hone::bf16;
using hone::fp16;

TEST_CASE("fp16: every bit pattern survives the way through float") {
  for (int raw = 0; raw < 65536; ++raw) {
    const auto half = fp16::from_bits(static_cast<std::uint16_t>(raw));
    const float wide = half;
    if (std::isnan(wide)) continue;
    REQUIRE(fp16(wide).bits == half.bits);
  }
}

TEST_CASE("bf16: every bit pattern survives the way through float") {
  for (int raw = 0; raw < 65536; ++raw) {
    const auto half = bf16::from_bits(static_cast<std::uint16_t>(raw));
    const float wide = half;
    if (std::isnan(wide)) continue;
    REQUIRE(bf16(wide).bits == half.bits);
  }
}

TEST_CASE("rounding is to nearest, ties to even; overflow is infinity, NaN stays NaN") {
  CHECK(fp16(2049.0f) == 2048.0f);
  CHECK(fp16(2051.0f) == 2052.0f);
  CHECK(fp16(65519.0f) == 65504.0f);
  CHECK(std::isinf(float{fp16(65520.0f)}));
  CHECK(fp16(std::ldexp(1.5f, -25)) == std::ldexp(1.0f, -24));
  CHECK(fp16(std::ldexp(1.0f, -25)) == 0.0f);
  CHECK(bf16(1.0f + std::ldexp(1.0f, -8)) == 1.0f);
  CHECK(bf16(1.0f + 3 * std::ldexp(1.0f, -8)) == 1.0f + std::ldexp(1.0f, -6));
  CHECK(std::isnan(float{bf16(std::numeric_limits<float>::quiet_NaN())}));
  CHECK(std::isnan(float{fp16(std::numeric_limits<float>::quiet_NaN())}));
}
