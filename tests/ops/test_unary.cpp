#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace {

using hone::Tensor;
using hone::test::gradcheck;
using hone::test::random_tensor;
using hone::test::spread_tensor;
using T64 = Tensor<double>;

/// Values against `reference`, and gradients, at shapes with odd sizes, extent 1, rank 0 and no elements.
template <class F, class Reference>
void check_unary(F f, Reference reference, double low, double high) {
  for (const hone::Shape& shape :
       {hone::Shape{3, 5}, hone::Shape{1}, hone::Shape{}, hone::Shape{2, 1, 3}, hone::Shape{0, 4}}) {
    const auto x = random_tensor<double>(shape, 7, low, high);
    std::vector<double> wanted;
    for (const double value : x.to_vector()) wanted.push_back(reference(value));
    CHECK(hone::test::close(hone::test::doubles(f(x)), wanted, shape, 1e-14, 1e-14));
    CHECK(gradcheck(f, x));
  }
  const auto wide = random_tensor<double>({3, 6}, 8, low, high);
  CHECK(gradcheck(f, wide.columns(1, 4)));
}

}  // namespace

TEST_CASE("functions of one argument: values and gradients") {
  check_unary([](const T64& x) { return exp(x); }, [](double x) { return std::exp(x); }, -2, 2);
  check_unary([](const T64& x) { return log(x); }, [](double x) { return std::log(x); }, 0.3, 3);
  check_unary([](const T64& x) { return sqrt(x); }, [](double x) { return std::sqrt(x); }, 0.3, 3);
  check_unary([](const T64& x) { return rsqrt(x); }, [](double x) { return 1 / std::sqrt(x); }, 0.3, 3);
  check_unary([](const T64& x) { return tanh(x); }, [](double x) { return std::tanh(x); }, -2, 2);
  check_unary([](const T64& x) { return sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, -3, 3);
  check_unary([](const T64& x) { return silu(x); }, [](double x) { return x / (1 + std::exp(-x)); }, -3, 3);
  check_unary([](const T64& x) { return sin(x); }, [](double x) { return std::sin(x); }, -3, 3);
  check_unary([](const T64& x) { return cos(x); }, [](double x) { return std::cos(x); }, -3, 3);
}

TEST_CASE("functions with a kink: gradients beside it, and what happens at it") {
  const auto x = spread_tensor<double>({5, 3}, 9);
  CHECK(gradcheck([](const T64& a) { return relu(a); }, x));
  CHECK(gradcheck([](const T64& a) { return abs(a); }, x));
  T64 zero = T64::from({1}, {0});
  zero.require_grad();
  (relu(zero) + abs(zero)).backward();
  CHECK(zero.gradient().item() == 0.0);
  CHECK(abs(Tensor<std::int32_t>::from({2}, {-3, 4})).to_vector() == std::vector<std::int32_t>{3, 4});
  CHECK(std::isnan(relu(T64::from({1}, {std::numeric_limits<double>::quiet_NaN()})).item()));
}

TEST_CASE("a chain of functions") {
  CHECK(gradcheck([](const T64& a) { return tanh(exp(-a) * silu(a) + sqrt(a * a + 1.0)); },
                  random_tensor<double>({3, 3}, 4)));
}

TEST_CASE("saturated ends stay finite in float") {
  const auto x = Tensor<float>::from({4}, {-200.0f, 200.0f, -1e30f, 1e30f});
  CHECK(sigmoid(x).to_vector() == std::vector<float>{0, 1, 0, 1});
  CHECK(silu(x).to_vector() == std::vector<float>{0, 200, 0, 1e30f});
  CHECK(tanh(x).to_vector() == std::vector<float>{-1, 1, -1, 1});
}
