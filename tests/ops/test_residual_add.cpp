#include <hone/ops/residual_add.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

TEST_CASE("residual_add: gradients, the generic sum, other types") {
  const auto fused = [](const auto& x, const auto& delta) { return residual_add(x, delta); };
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 5}, Shape{3, 7}}) {
    const auto x = random_tensor<double>(shape, 1), delta = random_tensor<double>(shape, 2);
    CHECK(gradcheck(fused, x, delta));
    CHECK(agree(
        fused, [](const T64& u, const T64& d) { return u + d; }, x, delta));
    check_precisions(fused, x, delta);
  }
  CHECK(gradcheck([](const T64& x) { return residual_add(x, x); }, random_tensor<double>({2, 3}, 3)));
  CHECK_THROWS_WITH(residual_add(random_tensor<double>({2, 3}, 1), random_tensor<double>({2, 4}, 1)),
                    "[residual_add] delta (2, 4) must have the shape of x (2, 3)");
}
