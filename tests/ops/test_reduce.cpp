#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace {

using hone::Shape;
using hone::Tensor;
using hone::test::close;
using hone::test::gradcheck;
using hone::test::random_tensor;
using hone::test::spread_tensor;
using T64 = Tensor<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();

const std::vector<Shape> shapes = {{5}, {1}, {3, 5}, {1, 7}, {7, 1}, {2, 3, 4}, {3, 1, 2, 1, 5}, {2, 33}, {37, 3}};

/// Every axis of every shape, kept and dropped.
template <class F>
void check_each_axis(F f) {
  for (const Shape& shape : shapes)
    for (int axis = -shape.rank(); axis < shape.rank(); ++axis)
      for (const bool keepdim : {false, true}) {
        CAPTURE(to_string(shape));
        CAPTURE(axis);
        CHECK(gradcheck([&](const T64& x) { return f(x, axis, keepdim); }, spread_tensor<double>(shape, 3)));
      }
}

/// The reduction of one axis by a plain loop over vectors.
template <class F>
std::vector<double> by_hand(const T64& x, int axis, F f) {
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; ++i) outer *= x.extent(i);
  for (int i = axis + 1; i < x.rank(); ++i) inner *= x.extent(i);
  std::vector<double> out;
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t i = 0; i < inner; ++i) {
      std::vector<double> line;
      for (std::int64_t j = 0; j < x.extent(axis); ++j) line.push_back(x.data()[(o * x.extent(axis) + j) * inner + i]);
      out.push_back(f(line));
    }
  return out;
}

}  // namespace

TEST_CASE("reductions along each axis: gradients") {
  check_each_axis([](const T64& x, int axis, bool keepdim) { return sum(x, axis, keepdim); });
  check_each_axis([](const T64& x, int axis, bool keepdim) { return mean(x, axis, keepdim); });
  check_each_axis([](const T64& x, int axis, bool keepdim) { return max(x, axis, keepdim); });
  check_each_axis([](const T64& x, int axis, bool keepdim) { return min(x, axis, keepdim); });
  check_each_axis([](const T64& x, int axis, bool keepdim) { return logsumexp(x, axis, keepdim); });
}

TEST_CASE("reductions of everything, of several axes, and of column slices: gradients") {
  for (const Shape& shape : {Shape{}, Shape{3, 5}, Shape{2, 1, 3}}) {
    const auto x = spread_tensor<double>(shape, 4);
    CHECK(gradcheck([](const T64& a) { return sum(a); }, x));
    CHECK(gradcheck([](const T64& a) { return mean(a); }, x));
    CHECK(gradcheck([](const T64& a) { return max(a); }, x));
    CHECK(gradcheck([](const T64& a) { return min(a); }, x));
    CHECK(gradcheck([](const T64& a) { return logsumexp(a); }, x));
  }
  const auto x = random_tensor<double>({2, 3, 4, 5}, 5);
  CHECK(gradcheck([](const T64& a) { return sum(a, {0, 2}); }, x));
  CHECK(gradcheck([](const T64& a) { return mean(a, {1, -1}, true); }, x));
  CHECK(gradcheck([](const T64& a) { return sum_to(a, {4, 1}); }, x));
  CHECK(gradcheck([](const T64& a) { return broadcast_to(a, {2, 3, 5}); }, random_tensor<double>({3, 1}, 6)));
  const auto columns = spread_tensor<double>({4, 9}, 7).columns(3, 5);
  CHECK(gradcheck([](const T64& a) { return sum(a, 0); }, columns));
  CHECK(gradcheck([](const T64& a) { return max(a, 1); }, columns));
  CHECK(gradcheck([](const T64& a) { return logsumexp(a, 0); }, columns));
}

TEST_CASE("reductions along each axis: values are those of plain loops") {
  for (const Shape& shape : shapes) {
    const auto x = random_tensor<double>(shape, 8, -3, 3);
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const auto check_values = [&](const auto& got, auto f) {
        CHECK(close(hone::test::doubles(got), by_hand(x, axis, f), got.shape(), 1e-13, 1e-13));
      };
      check_values(sum(x, axis), [](const auto& line) { return std::accumulate(line.begin(), line.end(), 0.0); });
      check_values(mean(x, axis), [](const auto& line) {
        return std::accumulate(line.begin(), line.end(), 0.0) / static_cast<double>(line.size());
      });
      check_values(max(x, axis), [](const auto& line) { return *std::max_element(line.begin(), line.end()); });
      check_values(min(x, axis), [](const auto& line) { return *std::min_element(line.begin(), line.end()); });
      check_values(argmax(x, axis), [](const auto& line) {
        return static_cast<double>(std::max_element(line.begin(), line.end()) - line.begin());
      });
      check_values(argmin(x, axis), [](const auto& line) {
        return static_cast<double>(std::min_element(line.begin(), line.end()) - line.begin());
      });
      check_values(logsumexp(x, axis), [](const auto& line) {
        double total = 0;
        for (const double value : line) total += std::exp(value);
        return std::log(total);
      });
    }
  }
}

TEST_CASE("of equal elements the first is the largest; NaN wins; large rows too") {
  CHECK(argmax(T64::from({5}, {1, 7, 3, 7, 7})).item() == 1);
  CHECK(argmax(T64::from({2, 2}, {1, 2, 9, 4})).item() == 2);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(argmax(T64::from({4}, {1, nan, 3, nan})).item() == 1);
  CHECK(std::isnan(max(T64::from({3}, {1, nan, 3})).item()));
  auto row = hone::zeros<float>({200000});
  row.data()[70001] = row.data()[150000] = 2;
  CHECK(argmax(row).item() == 70001);
  row.data()[190000] = std::numeric_limits<float>::quiet_NaN();
  CHECK(argmax(row).item() == 190000);
}

TEST_CASE("logsumexp neither overflows nor underflows, and takes infinities") {
  CHECK(logsumexp(T64::from({2}, {1000, 1000})).item() == doctest::Approx(1000 + std::log(2.0)));
  CHECK(logsumexp(T64::from({2}, {-1000, -1000})).item() == doctest::Approx(-1000 + std::log(2.0)));
  CHECK(logsumexp(T64::from({3}, {-infinity, 1, -infinity})).item() == doctest::Approx(1));
  CHECK(logsumexp(T64::from({2}, {-infinity, -infinity})).item() == -infinity);
  CHECK(logsumexp(T64::from({2}, {infinity, 1})).item() == infinity);
  T64 x = T64::from({3}, {-infinity, 1, 1});
  x.require_grad();
  logsumexp(x).backward();
  CHECK(close(hone::test::doubles(x.gradient()), {0, 0.5, 0.5}, {3}, 1e-15, 0));
}

TEST_CASE("reductions of no elements") {
  const auto none = hone::zeros<float>({3, 0});
  CHECK(sum(none, 1).to_vector() == std::vector<float>{0, 0, 0});
  CHECK(sum(none, 0).elements() == 0);
  CHECK(std::isnan(mean(none).item()));
  CHECK(logsumexp(none, 1).to_vector()[2] == -std::numeric_limits<float>::infinity());
  CHECK_THROWS_WITH(max(none, 1), "[max] axis 1 of shape (3, 0) has no elements");
  CHECK_THROWS_WITH(argmax(none), "[argmax] axis 0 of shape (0,) has no elements");
  CHECK(gradcheck([](const T64& x) { return sum(x, 1); }, random_tensor<double>({3, 0}, 1)));
}

TEST_CASE("large reductions: equal bits for any number of threads, small error") {
  hone::Cpu one({.threads = 1}), three({.threads = 3});
  for (const Shape& shape : {Shape{1 << 20}, Shape{700, 300}, Shape{3, 100001}, Shape{100001, 3}}) {
    CAPTURE(to_string(shape));
    const auto run = [&](const hone::Cpu& device) {
      const auto x = random_tensor<float>(shape, 1, 0, 1, device);
      return std::vector<Tensor<float>>{sum(x), sum(x, 0), sum(x, -1), logsumexp(x, 0), max(x, -1), mean(x)};
    };
    const auto left = run(one), right = run(three);
    for (std::size_t i = 0; i < left.size(); ++i) CHECK(hone::test::same_bits(left[i], right[i]));
    const auto x = random_tensor<float>(shape, 1, 0, 1);
    double total = 0;
    for (const float value : x.to_vector()) total += static_cast<double>(value);
    CHECK(static_cast<double>(left[0].item()) == doctest::Approx(total).epsilon(2e-6));
  }
}

TEST_CASE("what is asked of axes is checked") {
  const auto x = hone::zeros<float>({2, 3});
  CHECK_THROWS_WITH(sum(x, 2), "[sum] axis 2 of shape (2, 3): wanted -2 to 1");
  CHECK_THROWS_WITH(mean(x, {1, -1}), "[mean] axis -1 is named twice");
  CHECK_THROWS_WITH(sum_to(x, {2}), "[sum_to] shapes (2,) and (2, 3) do not broadcast: extents 2 and 3 of axis -1");
  CHECK_THROWS_WITH(broadcast_to(x, {3}), "[broadcast_to] shape (2, 3) cannot be stretched to (3,)");
}
