#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

namespace {

using hone::MatMulArguments;
using hone::Shape;
using hone::Tensor;
using hone::test::close;
using hone::test::gradcheck;
using hone::test::random_tensor;
using T64 = Tensor<double>;

struct Case {
  Shape a, b;
  MatMulArguments arguments;
};

const std::vector<Case> cases = {
    {{3, 5}, {5, 4}, {}},
    {{1, 1}, {1, 1}, {}},
    {{1, 7}, {7, 1}, {}},
    {{7, 1}, {1, 3}, {}},
    {{5, 3}, {5, 4}, {.transpose_a = true}},
    {{3, 5}, {4, 5}, {.transpose_b = true}},
    {{5, 3}, {4, 5}, {.transpose_a = true, .transpose_b = true, .alpha = 0.5}},
    {{2, 3, 5}, {5, 4}, {}},
    {{2, 3, 5}, {4, 5}, {.transpose_b = true, .alpha = -2}},
    {{2, 5, 3}, {5, 4}, {.transpose_a = true}},
    {{2, 3, 5}, {2, 5, 4}, {}},
    {{3, 5}, {2, 5, 4}, {}},
    {{2, 1, 3, 5}, {3, 5, 4}, {}},
    {{2, 1, 5, 3}, {3, 4, 5}, {.transpose_a = true, .transpose_b = true}},
    {{1, 2, 1, 3, 2}, {2, 1, 3, 2, 2}, {}},
    {{0, 3}, {3, 2}, {}},
    {{2, 0}, {0, 3}, {}},
    {{2, 0, 3}, {3, 2}, {}},
};

/// The product by loops, for one pair of matrices at given offsets.
double element(const T64& a, const T64& b, const MatMulArguments& arguments, std::int64_t at_a, std::int64_t at_b,
               std::int64_t i, std::int64_t j) {
  const std::int64_t columns_a = a.extent(-1), columns_b = b.extent(-1);
  const std::int64_t inner = arguments.transpose_a ? a.extent(-2) : columns_a;
  double out = 0;
  for (std::int64_t k = 0; k < inner; ++k)
    out += a.data()[at_a + (arguments.transpose_a ? k * columns_a + i : i * columns_a + k)] *
           b.data()[at_b + (arguments.transpose_b ? j * columns_b + k : k * columns_b + j)];
  return arguments.alpha * out;
}

}  // namespace

TEST_CASE("matmul: gradients, batched, broadcast, with either side transposed") {
  for (const Case& c : cases) {
    CAPTURE(to_string(c.a));
    CAPTURE(to_string(c.b));
    CHECK(gradcheck([&](const T64& a, const T64& b) { return matmul(a, b, c.arguments); },
                    random_tensor<double>(c.a, 1), random_tensor<double>(c.b, 2)));
  }
  CHECK(gradcheck([](const T64& a) { return matmul(a, a, {.transpose_b = true}); }, random_tensor<double>({3, 4}, 3)));
  const auto wide = random_tensor<double>({5, 11}, 4);
  CHECK(gradcheck([](const T64& a, const T64& b) { return matmul(a, b, {.transpose_a = true}); }, wide.columns(1, 4),
                  wide.columns(6, 3)));
}

TEST_CASE("matmul: values") {
  for (const Case& c : cases) {
    if (c.a.rank() != 2 || c.b.rank() != 2) continue;
    const auto a = random_tensor<double>(c.a, 5), b = random_tensor<double>(c.b, 6);
    const auto y = matmul(a, b, c.arguments);
    for (std::int64_t i = 0; i < y.extent(0); ++i)
      for (std::int64_t j = 0; j < y.extent(1); ++j)
        CHECK(y.data()[i * y.extent(1) + j] == doctest::Approx(element(a, b, c.arguments, 0, 0, i, j)));
  }
  const auto a = random_tensor<double>({2, 1, 3, 4}, 7), b = random_tensor<double>({5, 4, 2}, 8);
  const auto y = matmul(a, b);
  REQUIRE(y.shape() == Shape{2, 5, 3, 2});
  for (std::int64_t p = 0; p < 2; ++p)
    for (std::int64_t q = 0; q < 5; ++q)
      for (std::int64_t i = 0; i < 3; ++i)
        for (std::int64_t j = 0; j < 2; ++j)
          CHECK(y.data()[((p * 5 + q) * 3 + i) * 2 + j] == doctest::Approx(element(a, b, {}, p * 12, q * 8, i, j)));
}

TEST_CASE("matmul in float and bf16 is close to double") {
  const auto a = random_tensor<float>({33, 65}, 9), b = random_tensor<float>({65, 17}, 10);
  const auto exact = matmul(hone::to<double>(a), hone::to<double>(b));
  CHECK(close(matmul(a, b), exact, 1e-5, 1e-5));
  const auto rounded_a = hone::to<hone::bf16>(a), rounded_b = hone::to<hone::bf16>(b);
  CHECK(close(matmul(rounded_a, rounded_b), matmul(hone::to<double>(rounded_a), hone::to<double>(rounded_b)), 0.01,
              0.008));
}

TEST_CASE("matmul names what does not fit") {
  const auto ones = [](const Shape& shape) { return hone::ones<float>(shape); };
  CHECK_THROWS_WITH(matmul(ones({2, 3}), ones({4, 5})), "[matmul] a (2, 3) x b (4, 5): inner extents 3 and 4 differ");
  CHECK_THROWS_WITH(matmul(ones({2, 3}), ones({3, 5}), {.transpose_b = true}),
                    "[matmul] a (2, 3) x b (3, 5) transposed: inner extents 3 and 5 differ");
  CHECK_THROWS_WITH(matmul(ones({2}), ones({2, 3})), "[matmul] a (2,) x b (2, 3): both must have rank 2 or more");
  CHECK_THROWS_WITH(matmul(ones({2, 2, 3}), ones({3, 3, 2})),
                    "[matmul] shapes (2,) and (3,) do not broadcast: extents 2 and 3 of axis -1");
}
