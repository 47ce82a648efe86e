#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

namespace {
using hone::Generator;
using hone::Shape;
using hone::Tensor;
using hone::test::gradcheck;
using hone::test::random_tensor;
using T64 = Tensor<double>;
}  // namespace

TEST_CASE("dropout: gradients follow the mask") {
  for (const Shape& shape : {Shape{3, 5}, Shape{1}, Shape{2, 3, 7}, Shape{0, 3}}) {
    const auto same_mask = [](const T64& x) {
      Generator generator{3, 17};
      return dropout(x, 0.4, generator);
    };
    CHECK(gradcheck(same_mask, random_tensor<double>(shape, 1)));
  }
  const auto columns = random_tensor<double>({5, 8}, 2).columns(2, 3);
  CHECK(gradcheck(
      [](const T64& x) {
        Generator generator{1, 2};
        return dropout(x, 0.5, generator);
      },
      columns));
}

TEST_CASE("dropout keeps its share, keeps the mean, and draws anew each time") {
  hone::set_seed(4);
  const auto x = hone::ones<float>({300, 300});
  const auto y = dropout(x, 0.25), z = dropout(x, 0.25);
  CHECK(static_cast<double>(mean(y).item()) == doctest::Approx(1).epsilon(0.01));
  CHECK(sum(hone::to<float>(y == 0)).item() / 90000 == doctest::Approx(0.25).epsilon(0.02));
  CHECK(sum(hone::to<float>(y != z)).item() > 1000);
  CHECK(dropout(x, 0).same_storage(x));
  CHECK(max(dropout(x, 1)).item() == 0.0f);
  {
    hone::no_grad evaluation;
    CHECK(dropout(x, 0.5).same_storage(x));
  }
  CHECK_THROWS_WITH(dropout(x, 1.5), "[dropout] p is 1.5, wanted a probability");
}
