// Building blocks for loops that the compiler turns into vector code: bf16 conversion, exp, and reductions over lanes.
// Everything here is HONE_ALWAYS_INLINE, so it takes the instruction set of the loop it stands in
// (cpu/isa_dispatch.hpp).
#pragma once

#include <hone/core/config.hpp>
#include <hone/core/half.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace hone {

// ---- storage <-> arithmetic -----------------------------------------------------------------------------------------

/// The value in the type sums are formed in: float for bf16 and float, double for double.
HONE_ALWAYS_INLINE double widen(double value) { return value; }
HONE_ALWAYS_INLINE float widen(float value) { return value; }
HONE_ALWAYS_INLINE float widen(bf16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }

/// The value as a T, rounded to nearest even; the same bits as bf16(float), without a branch.
template <class T, class S>
HONE_ALWAYS_INLINE T round_to(S value) {
  if constexpr (std::is_same_v<T, bf16>) {
    const std::uint32_t raw = std::bit_cast<std::uint32_t>(static_cast<float>(value));
    const std::uint32_t rounded = (raw + 0x7fffu + ((raw >> 16) & 1u)) >> 16;
    const std::uint32_t quiet_nan = (raw >> 16) | 0x40u;
    return bf16::from_bits(static_cast<std::uint16_t>((raw & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded));
  } else {
    return static_cast<T>(value);
  }
}

// ---- exp ------------------------------------------------------------------------------------------------------------

/// e^x, within 2 units in the last place over all of float: 0 below -103.98 (subnormal results included above it), +inf
/// above 88.73, NaN for NaN.
/// x = n ln 2 + r with |r| <= ln 2 / 2, and e^x = 2^n e^r; e^r = 1 + r + r^2 q(r), q interpolated at Chebyshev nodes.
HONE_ALWAYS_INLINE float vector_exp(float x) {
  constexpr float log2_e = 1.44269504f;
  constexpr float ln2_high = 0.693145751953125f;  // 15 bits, so that n * ln2_high is exact
  constexpr float ln2_low = 1.42860682e-6f;
  constexpr float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, held in the low bits
  const float shifted = x * log2_e + to_integer;
  const float n = shifted - to_integer;
  const float r = (x - n * ln2_high) - n * ln2_low;
  float q = 0.00139262131f;
  q = q * r + 0.00836320315f;
  q = q * r + 0.0416665561f;
  q = q * r + 0.166665763f;
  q = q * r + 0.5f;
  const float e_r = (q * (r * r) + r) + 1.0f;
  // 2^n in two factors: either alone is a normal float for n in [-150, 128], and only the last product rounds.
  const auto exponent = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(shifted) - 0x4b400000u);
  const std::int32_t half = exponent >> 1;
  const float first = std::bit_cast<float>((static_cast<std::uint32_t>(half) + 127u) << 23);
  const float second = std::bit_cast<float>((static_cast<std::uint32_t>(exponent - half) + 127u) << 23);
  const auto power = std::bit_cast<std::uint32_t>(e_r * first * second);
  // By masks, and at the end: g++ makes branches of `?:` here, moves arithmetic that may trap into them, and then
  // cannot vectorise. Both comparisons are false for NaN, which has gone through the polynomial.
  const std::uint32_t huge = 0u - static_cast<std::uint32_t>(x > 89.0f);
  const std::uint32_t tiny = 0u - static_cast<std::uint32_t>(x < -104.0f);
  return std::bit_cast<float>((power & ~(huge | tiny)) | (huge & 0x7f800000u));
}

/// The double one is libm's: double is the reference path, not the fast one.
HONE_ALWAYS_INLINE double vector_exp(double x) { return std::exp(x); }

// ---- reductions over lanes ------------------------------------------------------------------------------------------

/// A sum that is vectorised without -ffast-math must say in which order it adds. Here: element i goes to lane i mod 16,
/// lanes are then added pairwise, 8 apart, 4, 2, 1. The order does not depend on the instruction set.
inline constexpr int lane_count = 16;

template <class S>
struct Lanes {
  alignas(64) S lane[lane_count];

  HONE_ALWAYS_INLINE explicit Lanes(S value) {
    for (int l = 0; l < lane_count; ++l) lane[l] = value;
  }
};

template <class S>
HONE_ALWAYS_INLINE S sum_of_lanes(const Lanes<S>& lanes) {
  S eight[8], four[4];
  for (int l = 0; l < 8; ++l) eight[l] = lanes.lane[l] + lanes.lane[l + 8];
  for (int l = 0; l < 4; ++l) four[l] = eight[l] + eight[l + 4];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

/// The larger one; `b` where it is not greater than `a`, or NaN, gives `a`.
template <class S>
HONE_ALWAYS_INLINE S larger(S a, S b) {
  return b > a ? b : a;
}

/// Sum of term(i) over i in [0, n), in lanes. `Term` is a functor whose operator() is HONE_ALWAYS_INLINE:
///   struct Square { const T* x; HONE_ALWAYS_INLINE S operator()(std::int64_t i) const { S v = widen(x[i]); return v *
///   v; } };
template <class S, class Term>
HONE_ALWAYS_INLINE S lane_sum(std::int64_t n, Term term) {
  Lanes<S> sum(S{0});
  std::int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count)
    for (int l = 0; l < lane_count; ++l) sum.lane[l] += term(i + l);
  for (int l = 0; i + l < n; ++l) sum.lane[l] += term(i + l);
  return sum_of_lanes(sum);
}

/// Largest term(i) over i in [0, n); -inf when n == 0. A NaN term is passed over: the caller's sum of exponentials
/// carries it on.
template <class S, class Term>
HONE_ALWAYS_INLINE S lane_max(std::int64_t n, Term term) {
  Lanes<S> most(-std::numeric_limits<S>::infinity());
  std::int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count)
    for (int l = 0; l < lane_count; ++l) most.lane[l] = larger<S>(most.lane[l], term(i + l));
  for (int l = 0; i + l < n; ++l) most.lane[l] = larger<S>(most.lane[l], term(i + l));
  S out = most.lane[0];
  for (int l = 1; l < lane_count; ++l) out = larger(out, most.lane[l]);
  return out;
}

namespace detail {

template <class S, class T>
struct ElementTerm {
  const T* x;
  HONE_ALWAYS_INLINE S operator()(std::int64_t i) const { return widen(x[i]); }
};

template <class S, class A, class B>
struct ProductTerm {
  const A* a;
  const B* b;
  HONE_ALWAYS_INLINE S operator()(std::int64_t i) const { return static_cast<S>(widen(a[i])) * widen(b[i]); }
};

}  // namespace detail

template <class S, class T>
HONE_ALWAYS_INLINE S vector_sum(const T* x, std::int64_t n) {
  return lane_sum<S>(n, detail::ElementTerm<S, T>{x});
}

template <class S, class T>
HONE_ALWAYS_INLINE S vector_max(const T* x, std::int64_t n) {
  return lane_max<S>(n, detail::ElementTerm<S, T>{x});
}

template <class S, class A, class B>
HONE_ALWAYS_INLINE S vector_dot(const A* a, const B* b, std::int64_t n) {
  return lane_sum<S>(n, detail::ProductTerm<S, A, B>{a, b});
}

}  // namespace hone
