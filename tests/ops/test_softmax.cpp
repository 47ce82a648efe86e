#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

namespace {
using hone::Shape;
using hone::Tensor;
using hone::test::close;
using hone::test::gradcheck;
using hone::test::random_tensor;
using T64 = Tensor<double>;
}  // namespace

TEST_CASE("softmax and log_softmax along each axis: gradients") {
  for (const Shape& shape : {Shape{5}, Shape{1}, Shape{3, 7}, Shape{3, 1}, Shape{2, 3, 4}, Shape{0, 3}}) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      CAPTURE(to_string(shape));
      CAPTURE(axis);
      const auto x = random_tensor<double>(shape, 1, -3, 3);
      CHECK(gradcheck([axis](const T64& a) { return softmax(a, axis); }, x));
      CHECK(gradcheck([axis](const T64& a) { return log_softmax(a, axis); }, x));
    }
  }
  CHECK(gradcheck([](const T64& a) { return softmax(a); }, random_tensor<double>({3, 9}, 2).columns(2, 5)));
}

TEST_CASE("softmax agrees with the ops it is made of") {
  const auto x = random_tensor<double>({4, 5, 3}, 3, -3, 3);
  for (int axis = -3; axis < 3; ++axis) {
    const auto wanted = x - logsumexp(x, axis, true);
    CHECK(close(log_softmax(x, axis), wanted, 1e-14, 1e-14));
    CHECK(close(softmax(x, axis), exp(wanted), 1e-14, 1e-14));
  }
}

TEST_CASE("softmax of large numbers stays finite; rows sum to one") {
  const auto x = Tensor<float>::from({2, 3}, {10000, 10000, -10000, -1e30f, 0, 1});
  const auto y = softmax(x);
  CHECK(y.to_vector()[0] == 0.5f);
  CHECK(close(sum(y, 1), hone::ones<float>({2}), 1e-6, 0));
  const auto half = hone::to<hone::bf16>(random_tensor<float>({3, 100}, 4));
  CHECK(close(sum(hone::to<float>(softmax(half)), 1), hone::ones<float>({3}), 0.02, 0));
}

TEST_CASE("softmax asks for an axis") {
  CHECK_THROWS_WITH(softmax(hone::ones<float>({})), "[softmax] axis -1 of shape (): wanted 0 to -1");
}
