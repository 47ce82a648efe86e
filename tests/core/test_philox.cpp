#include <hone/core/isa.hpp>
#include <hone/core/philox.hpp>

#include "support/data.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace hone;

namespace {

std::uint64_t hash_normals(std::uint64_t seed, int count) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a, word by word
  for (int i = 0; i < count; ++i) {
    hash ^= std::bit_cast<std::uint32_t>(philox_normal(seed, 0, static_cast<std::uint64_t>(i)));
    hash *= 1099511628211u;
  }
  return hash;
}

#if HONE_X86 && defined(__GNUC__) && !defined(__clang__)
#define HONE_TEST_FUSED 1
// Pulls the whole generator in, so that it is compiled with FMA allowed (and used: g++ contracts by default at -O2).
__attribute__((flatten, optimize("O2"))) HONE_TARGET_AVX2 std::uint64_t hash_normals_fused(std::uint64_t seed,
                                                                                           int count) {
  return hash_normals(seed, count);
}
#endif

}  // namespace

TEST_CASE("philox: the known answers of the Random123 distribution") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == PhiloxWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        PhiloxWords{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxWords{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: seed, stream and block fill disjoint words, at compile time too") {
  static_assert(philox(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u)[0] == 0xd16cfe09);
  static_assert(philox_word(7, 3, 21) == philox(7, 3, 5)[1]);
  static_assert(philox_normal(7, 3, 2) == normal_pair(philox(7, 3, 0)[2], philox(7, 3, 0)[3])[0]);
  CHECK(philox(1, 0, 0) != philox(0, 1, 0));
  CHECK(philox(0, 1, 0) != philox(0, 0, 1));
}

TEST_CASE("philox: uniforms keep to their side of the interval") {
  CHECK(uniform_closed_open(0) == 0.0f);
  CHECK(uniform_closed_open(0xffffffffu) == 1.0f - 0x1p-24f);
  CHECK(uniform_open_closed(0) == 0x1p-24f);
  CHECK(uniform_open_closed(0xffffffffu) == 1.0f);
  double sum = 0;
  for (std::uint64_t i = 0; i < 100000; ++i) sum += uniform_closed_open(philox_word(5, 0, i));
  CHECK(sum / 100000 == doctest::Approx(0.5).epsilon(0.01));
}

TEST_CASE("philox: normals follow Box and Muller in double") {
  const double pi = std::acos(-1.0);
  double worst = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const PhiloxWords words = philox(11, 0, i);
    const double u = (words[0] + 1.0) * 0x1p-32, v = words[1] * 0x1p-32;
    const double radius = std::sqrt(-2 * std::log(u)), angle = 2 * pi * v - pi / 4;
    const auto [a, b] = normal_pair(words[0], words[1]);
    worst = std::max({worst, std::abs(a - radius * std::cos(angle)), std::abs(b - radius * std::sin(angle))});
  }
  CHECK(worst < 3e-6);
  for (const std::uint32_t angle : {0u, 0x3fffffffu, 0x40000000u, 0xbfffffffu, 0xffffffffu}) {
    const auto [a, b] = normal_pair(0, angle);  // the largest radius there is
    CHECK(std::sqrt(double{a} * a + double{b} * b) == doctest::Approx(std::sqrt(64 * std::log(2.0))));
    CHECK(normal_pair(0xffffffffu, angle)[0] == 0.0f);  // u = 1: no radius
  }
}

TEST_CASE("philox: moments and tail of the normals") {
  const int count = 200000;
  double sum = 0, squares = 0, fourth = 0, beyond = 0, neighbours = 0, before = 0;
  for (int i = 0; i < count; ++i) {
    const double x = philox_normal(2024, 1, static_cast<std::uint64_t>(i));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    beyond += std::abs(x) > 1.959964 ? 1 : 0;
    neighbours += x * before;
    before = x;
  }
  CHECK(std::abs(sum / count) < 4 / std::sqrt(count));
  CHECK(std::abs(squares / count - 1) < 4 * std::sqrt(2.0 / count));
  CHECK(std::abs(fourth / count - 3) < 4 * std::sqrt(96.0 / count));
  CHECK(std::abs(beyond / count - 0.05) < 4 * std::sqrt(0.05 * 0.95 / count));
  CHECK(std::abs(neighbours / count) < 4 / std::sqrt(count));
}

TEST_CASE("philox: fusing changes no bit, since the product of two floats is exact in double") {
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const double a = philox_normal(1, 0, i), b = philox_normal(1, 1, i), c = philox_normal(1, 2, i);
    REQUIRE(a * b + c == std::fma(a, b, c));
  }
}

#ifdef HONE_TEST_FUSED
TEST_CASE("philox: normals compiled for FMA are the same bits") {
  if (best_isa() == Isa::portable) {
    test::skip("philox with FMA", "this processor has none");
    return;
  }
  CHECK(hash_normals(99, 100000) == hash_normals_fused(99, 100000));
}
#endif

TEST_CASE("philox: the normals of a seed stay what they are") {
  CHECK(hash_normals(99, 100000) == 7078871004742576002u);
}
