#include <hone/cpu/vector_math.hpp>

#include <hone/cpu/isa_dispatch.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

using hone::bf16;
using hone::Isa;

namespace {

std::vector<Isa> paths() {
  std::vector<Isa> out;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
    if (isa <= hone::best_isa()) out.push_back(isa);
  return out;
}

struct ExpBody {
  HONE_ALWAYS_INLINE static void run(const float* x, float* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = hone::vector_exp(x[i]);
  }
};

struct ThroughBf16Body {
  HONE_ALWAYS_INLINE static void run(const float* x, bf16* y, float* back, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = hone::round_to<bf16>(x[i]);
    for (std::int64_t i = 0; i < n; ++i) back[i] = hone::widen(y[i]);
  }
};

template <class S, class T>
struct ReduceBody {
  HONE_ALWAYS_INLINE static void run(const T* a, const T* b, std::int64_t n, S* out) {
    out[0] = hone::vector_sum<S>(a, n);
    out[1] = hone::vector_max<S>(a, n);
    out[2] = hone::vector_dot<S>(a, b, n);
  }
};

// Distance of a result from the true value in units in the last place of the float nearest to it.
double ulps(float got, double want) {
  const auto nearest = static_cast<float>(want);
  if (std::isinf(nearest) || std::isinf(got)) return got == nearest ? 0 : 1e9;
  const double up = std::nextafter(nearest, std::numeric_limits<float>::infinity());
  return std::abs(static_cast<double>(got) - want) / (up - static_cast<double>(nearest));
}

std::vector<float> exp_of(Isa isa, std::vector<float> x) {
  std::vector<float> y(x.size());
  const float* in = x.data();
  hone::dispatch<ExpBody>(isa, in, y.data(), static_cast<std::int64_t>(x.size()));
  return y;
}

}  // namespace

TEST_CASE("vector_exp: at most 2 ulp over its whole range, subnormal results included, on every path") {
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits < 0x42d20000u; bits += 16411) {  // up to 105, every exponent
    x.push_back(std::bit_cast<float>(bits));
    x.push_back(-x.back());
  }
  for (const Isa isa : paths()) {
    CAPTURE(hone::name_of(isa));
    const std::vector<float> y = exp_of(isa, x);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, ulps(y[i], std::exp(static_cast<double>(x[i]))));
    CHECK(worst <= 2.0);
  }
}

TEST_CASE("vector_exp: limits") {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  for (const Isa isa : paths()) {
    const auto y = exp_of(isa, {0.0f, -0.0f, inf, -inf, largest, -largest, 88.72f, 88.74f, -103.9f, -104.1f,
                                std::numeric_limits<float>::quiet_NaN()});
    CHECK(y[0] == 1.0f);
    CHECK(y[1] == 1.0f);
    CHECK(y[2] == inf);
    CHECK(y[3] == 0.0f);
    CHECK(y[4] == inf);
    CHECK(y[5] == 0.0f);
    CHECK(std::isfinite(y[6]));
    CHECK(y[7] == inf);
    CHECK(y[8] == std::numeric_limits<float>::denorm_min());
    CHECK(y[9] == 0.0f);
    CHECK(std::isnan(y[10]));
  }
}

TEST_CASE("round_to<bf16> gives the bits of bf16's own rounding, on every path") {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 65521 / 3)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (const std::uint32_t bits : {0x3f808000u, 0x3f818000u, 0x7f7fffffu, 0x7f800001u, 0xffffffffu, 0x00007fffu})
    x.push_back(std::bit_cast<float>(bits));
  std::vector<bf16> y(x.size());
  std::vector<float> back(x.size());
  const float* in = x.data();
  for (const Isa isa : paths()) {
    hone::dispatch<ThroughBf16Body>(isa, in, y.data(), back.data(), static_cast<std::int64_t>(x.size()));
    std::int64_t different = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (y[i].bits != bf16(x[i]).bits || std::bit_cast<std::uint32_t>(back[i]) != std::uint32_t{y[i].bits} << 16)
        ++different;
    CHECK(different == 0);
  }
}

TEST_CASE_TEMPLATE("lane reductions: every length, against plain sums", T, bf16, float, double) {
  using S = std::conditional_t<std::is_same_v<T, double>, double, float>;
  for (const Isa isa : paths()) {
    for (std::int64_t n = 0; n < 70; ++n) {
      std::vector<T> a, b;
      double sum = 0, dot = 0, most = -std::numeric_limits<double>::infinity();
      for (std::int64_t i = 0; i < n; ++i) {  // small integers: every order of adding is exact
        a.push_back(T(static_cast<float>((i * 7) % 23 - 11)));
        b.push_back(T(static_cast<float>((i * 5) % 13 - 6)));
        const double va = static_cast<double>(a.back()), vb = static_cast<double>(b.back());
        sum += va;
        dot += va * vb;
        most = std::max(most, va);
      }
      S out[3];
      hone::dispatch<ReduceBody<S, T>, const T*, const T*, std::int64_t, S*>(isa, a.data(), b.data(), n, out);
      CHECK(static_cast<double>(out[0]) == sum);
      CHECK(static_cast<double>(out[1]) == most);
      CHECK(static_cast<double>(out[2]) == dot);
    }
  }
}

TEST_CASE("lane reductions: sums are bit-equal on every path; NaN goes through sums") {
  std::vector<float> x;
  for (int i = 0; i < 1003; ++i) x.push_back(std::sin(static_cast<float>(i)) * 3.0f);
  float first[3] = {};
  for (const Isa isa : paths()) {
    float out[3];
    hone::dispatch<ReduceBody<float, float>, const float*, const float*, std::int64_t, float*>(isa, x.data(), x.data(),
                                                                                               1003, out);
    if (isa == Isa::portable) first[0] = out[0];
    CHECK(out[0] == first[0]);
  }
  x[500] = std::numeric_limits<float>::quiet_NaN();
  for (const Isa isa : paths()) {
    float out[3];
    hone::dispatch<ReduceBody<float, float>, const float*, const float*, std::int64_t, float*>(isa, x.data(), x.data(),
                                                                                               1003, out);
    CHECK(std::isnan(out[0]));
    CHECK(std::isfinite(out[1]));
    CHECK(std::isnan(out[2]));
  }
}
