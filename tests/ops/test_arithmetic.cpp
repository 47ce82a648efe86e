#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace {

using hone::Shape;
using hone::Tensor;
using hone::test::close;
using hone::test::gradcheck;
using hone::test::random_tensor;
using hone::test::spread_tensor;
using T64 = Tensor<double>;

/// Pairs of shapes that broadcast: odd sizes, extents of 1 on either side, different ranks, scalars, no elements.
const std::vector<std::pair<Shape, Shape>> shape_pairs = {
    {{3, 5}, {3, 5}},
    {{3, 5}, {5}},
    {{5}, {3, 5}},
    {{3, 1}, {1, 5}},
    {{7}, {1}},
    {{1}, {1}},
    {{2, 1, 3}, {4, 1}},
    {{}, {3}},
    {{2, 3}, {}},
    {{}, {}},
    {{1, 3}, {0, 3}},
    {{2, 0}, {1, 1}},
    {{1, 2, 1, 3, 1}, {2, 1, 2, 1, 3}},
    {{3, 33}, {3, 1}},
};

template <class F>
void check_binary(F f, double low, double high) {
  for (const auto& pair : shape_pairs) {
    const Shape& a = pair.first;
    const Shape& b = pair.second;
    CAPTURE(to_string(a));
    CAPTURE(to_string(b));
    CHECK(gradcheck(f, random_tensor<double>(a, 11, low, high), random_tensor<double>(b, 12, low, high)));
  }
}

}  // namespace

TEST_CASE("arithmetic of two tensors: gradients, broadcasting both ways") {
  check_binary([](const T64& a, const T64& b) { return a + b; }, -2, 2);
  check_binary([](const T64& a, const T64& b) { return a - b; }, -2, 2);
  check_binary([](const T64& a, const T64& b) { return a * b; }, -2, 2);
  check_binary([](const T64& a, const T64& b) { return a / b; }, 0.5, 2);
  check_binary([](const T64& a, const T64& b) { return pow(a, b); }, 0.5, 2);
}

TEST_CASE("maximum and minimum: gradients away from ties, halves at them") {
  const auto a = spread_tensor<double>({5, 3}, 1), b = spread_tensor<double>({3}, 2, 0.07);
  CHECK(gradcheck([](const T64& x, const T64& y) { return maximum(x, y); }, a, b));
  CHECK(gradcheck([](const T64& x, const T64& y) { return minimum(x, y); }, a, b));
  CHECK(gradcheck([](const T64& x) { return minimum(maximum(x, -0.11), 0.12); }, a));
  T64 left = T64::from({2}, {1, 2}), right = T64::from({2}, {1, 3});
  left.require_grad();
  right.require_grad();
  maximum(left, right).backward(T64::from({2}, {8, 8}));
  CHECK(left.gradient().to_vector() == std::vector<double>{4, 0});
  CHECK(right.gradient().to_vector() == std::vector<double>{4, 8});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto spoiled = T64::from({2}, {nan, 0}), other = T64::from({2}, {0, nan});
  for (const auto& result : {maximum(spoiled, other), minimum(spoiled, other)})
    for (const double value : result.to_vector()) CHECK(std::isnan(value));
}

TEST_CASE("arithmetic with numbers, in either order") {
  const auto x = random_tensor<double>({3, 5}, 3, 0.5, 2);
  CHECK(gradcheck([](const T64& a) { return a + 1.5; }, x));
  CHECK(gradcheck([](const T64& a) { return 1.5 + a; }, x));
  CHECK(gradcheck([](const T64& a) { return a - 1.5; }, x));
  CHECK(gradcheck([](const T64& a) { return 1.5 - a; }, x));
  CHECK(gradcheck([](const T64& a) { return a * 1.5; }, x));
  CHECK(gradcheck([](const T64& a) { return 2 * a; }, x));
  CHECK(gradcheck([](const T64& a) { return a / 1.5; }, x));
  CHECK(gradcheck([](const T64& a) { return 1.5 / a; }, x));
  CHECK(gradcheck([](const T64& a) { return pow(a, 3); }, x));
  CHECK(gradcheck([](const T64& a) { return pow(a, 0); }, x));
  CHECK(gradcheck([](const T64& a) { return pow(1.5, a); }, x));
  CHECK(gradcheck([](const T64& a) { return -a; }, x));
  const auto t = Tensor<float>::from({2}, {1, 2});
  CHECK((3 - t).to_vector() == std::vector<float>{2, 1});
  CHECK((1 / t).to_vector() == std::vector<float>{1, 0.5f});
  CHECK((t * t * t - t / 2).to_vector() == std::vector<float>{0.5f, 7});
}

TEST_CASE("the same tensor twice: both contributions arrive") {
  CHECK(gradcheck([](const T64& a) { return a * a + a / (a * a); }, random_tensor<double>({4, 3}, 5, 0.5, 2)));
}

TEST_CASE("values with broadcasting are those of plain loops") {
  const auto a = random_tensor<float>({4, 1, 3}, 1), b = random_tensor<float>({5, 1}, 2);
  const auto y = a * b;
  REQUIRE(y.shape() == Shape{4, 5, 3});
  for (std::int64_t i = 0; i < 4; ++i)
    for (std::int64_t j = 0; j < 5; ++j)
      for (std::int64_t k = 0; k < 3; ++k) CHECK(y.data()[(i * 5 + j) * 3 + k] == a.data()[i * 3 + k] * b.data()[j]);
}

TEST_CASE("column slices are operands and get gradients") {
  const auto wide = random_tensor<double>({5, 7}, 1), other = random_tensor<double>({5, 3}, 2);
  CHECK(gradcheck([](const T64& a, const T64& b) { return a * b; }, wide.columns(2, 3), other));
  CHECK(gradcheck([](const T64& a, const T64& b) { return a / (b * b + 1.0); }, other, wide.columns(4, 1)));
}

TEST_CASE("bf16 is computed in float and rounded once") {
  const auto a = Tensor<hone::bf16>::from({2}, {1.0f, 3.0f}), b = Tensor<hone::bf16>::from({2}, {0.00390625f, 3.0f});
  const auto y = a + b;
  CHECK(static_cast<float>(y.data()[0]) == 1.0f);  // 1 + 2^-8 lies halfway, and is rounded to even
  CHECK(static_cast<float>((a * b / 3.0).data()[1]) == 3.0f);
  auto x = Tensor<hone::bf16>::from({2}, {2.0f, 5.0f});
  x.require_grad();
  (x * x).backward(Tensor<hone::bf16>::from({2}, {1.0f, 1.0f}));
  CHECK(static_cast<float>(x.gradient().data()[1]) == 10.0f);
}

TEST_CASE("integers are computed exactly, and numbers must be whole") {
  const auto big = Tensor<std::int64_t>::from({2}, {(std::int64_t{1} << 60) + 1, -7});
  CHECK((big + 1).to_vector() == std::vector<std::int64_t>{(std::int64_t{1} << 60) + 2, -6});
  CHECK((-big / 2).data()[1] == 3);
  CHECK_THROWS_WITH(big * 0.5, "[multiply] 0.5 and a tensor of integers: convert it with to<float>(x)");
}

TEST_CASE("large inputs: equal bits for any number of threads, and right") {
  hone::Cpu one({.threads = 1}), four({.threads = 4});
  const auto run = [](const hone::Cpu& device) {
    auto a = random_tensor<float>({301, 257}, 1, -1, 1, device), b = random_tensor<float>({257}, 2, -1, 1, device);
    a.require_grad();
    b.require_grad();
    const auto y = a * b + a;
    y.backward(random_tensor<float>({301, 257}, 3, -1, 1, device));
    return std::array{y.detached(), a.gradient(), b.gradient()};
  };
  const auto left = run(one), right = run(four);
  for (std::size_t i = 0; i < left.size(); ++i) CHECK(hone::test::same_bits(left[i], right[i]));
  const auto a = random_tensor<float>({301, 257}, 1), dy = random_tensor<float>({301, 257}, 3);
  std::vector<double> db(257, 0.0);
  for (std::int64_t i = 0; i < 301; ++i)
    for (std::int64_t j = 0; j < 257; ++j)
      db[static_cast<std::size_t>(j)] +=
          static_cast<double>(a.data()[i * 257 + j]) * static_cast<double>(dy.data()[i * 257 + j]);
  CHECK(close(hone::test::doubles(left[2]), db, {257}, 1e-4, 1e-5, "db"));
}

TEST_CASE("shapes that do not fit are named") {
  const auto a = random_tensor<float>({2, 3}, 1), b = random_tensor<float>({4, 5}, 2);
  CHECK_THROWS_WITH(a + b, "[add] shapes (2, 3) and (4, 5) do not broadcast: extents 3 and 5 of axis -1");
}
