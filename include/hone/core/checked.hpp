// Checked integers: arithmetic on numbers that came from a file or a flag throws instead of wrapping.
#pragma once

#include <hone/core/error.hpp>

#include <cstdint>
#include <limits>
#include <string_view>

namespace hone {

/// a * b, or an Error that names `what`. For extents, byte counts and offsets (never negative).
inline std::int64_t checked_mul(std::int64_t a, std::int64_t b, std::string_view what) {
  std::int64_t out = 0;
  check(a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, &out), "{}: {} x {} does not fit in 64 bits", what, a, b);
  return out;
}

/// a + b, or an Error that names `what`.
inline std::int64_t checked_add(std::int64_t a, std::int64_t b, std::string_view what) {
  std::int64_t out = 0;
  check(a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, &out), "{}: {} + {} does not fit in 64 bits", what, a, b);
  return out;
}

/// `value` as To, or an Error that names `what` when it does not fit.
template <class To, class From>
To narrow(From value, std::string_view what) {
  const auto out = static_cast<To>(value);
  const bool same_sign = (value < From{}) == (out < To{});
  check(static_cast<From>(out) == value && same_sign, "{}: {} is out of range", what, value);
  return out;
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace hone
