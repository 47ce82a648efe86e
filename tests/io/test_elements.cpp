#include <hone/io/elements.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "support/files.hpp"

using hone::bf16;
using hone::convert_elements;
using hone::DType;
using hone::fp16;
using hone::test::message_of;

namespace {

/// `values` stored as From, read back as To through the converter.
template <class To, class From>
std::vector<To> through(const std::vector<double>& values) {
  std::vector<From> stored;
  for (const auto value : values) stored.push_back(hone::convert_element<From>(value));
  std::vector<To> out(values.size());
  convert_elements(std::as_bytes(std::span(stored)), hone::dtype_of<From>, out.data(), std::int64_t(out.size()), "t");
  return out;
}

template <class To, class From>
void check_exact(const std::vector<double>& values) {
  const auto out = through<To, From>(values);
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(static_cast<double>(static_cast<float>(out[i])) == values[i]);
}

}  // namespace

TEST_CASE_TEMPLATE("elements: values every type holds pass through every pair", To, float, double, bf16, fp16) {
  const std::vector<double> values{0.0, 1.0, -1.5, 0.09375, 1024.0, -3.0e0};
  check_exact<To, float>(values);
  check_exact<To, double>(values);
  check_exact<To, bf16>(values);
  check_exact<To, fp16>(values);
}

TEST_CASE("elements: narrowing rounds to nearest even, widening is exact, doubles stay doubles") {
  CHECK(through<bf16, float>({1.00390625})[0].bits == 0x3f80);  // halfway between 1 and the next: to even
  CHECK(through<bf16, float>({1.01171875})[0].bits == 0x3f82);
  CHECK(through<double, double>({0.1})[0] == 0.1);
  CHECK(through<float, double>({0.1})[0] == 0.1f);
  CHECK(std::isnan(through<bf16, float>({std::numeric_limits<double>::quiet_NaN()})[0]));
  CHECK(std::isinf(static_cast<float>(through<fp16, float>({1e6})[0])));
}

TEST_CASE("elements: unaligned bytes are read") {
  const std::array<float, 2> values{1.5f, -2.5f};
  std::vector<std::byte> bytes(9);
  std::ranges::copy(std::as_bytes(std::span(values)), bytes.begin() + 1);
  std::array<double, 2> out{};
  convert_elements(std::span<const std::byte>(bytes).subspan(1), DType::f32, out.data(), 2, "t");
  CHECK(out[0] == 1.5);
  CHECK(out[1] == -2.5);
}

TEST_CASE("elements: integers only as what they are, and sizes must fit") {
  const std::array<std::int32_t, 2> values{1, -2};
  const auto bytes = std::as_bytes(std::span(values));
  std::array<std::int32_t, 2> same{};
  convert_elements(bytes, DType::i32, same.data(), 2, "t");
  CHECK(same == values);
  std::array<float, 2> out{};
  CHECK(message_of([&] { convert_elements(bytes, DType::i32, out.data(), 2, "[f] tensor 't'"); }) ==
        "[f] tensor 't' has element type int32; float32, float64, bfloat16 or float16 was expected");
  std::array<std::int64_t, 2> wide{};
  CHECK(message_of([&] { convert_elements(bytes, DType::i32, wide.data(), 2, "t"); }) ==
        "t has element type int32; int64 was expected");
  CHECK(message_of([&] { convert_elements(bytes, DType::f16, out.data(), 2, "t"); }) ==
        "t: 8 bytes where 4 were expected");
}
