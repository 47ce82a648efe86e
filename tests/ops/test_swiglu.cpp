#include <hone/ops/swiglu.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

TEST_CASE("swiglu: gradients, the composed op, other types") {
  const auto fused = [](const auto& gate_up) { return swiglu(gate_up); };
  for (const Shape& shape : {Shape{1, 2}, Shape{1, 14}, Shape{5, 2}, Shape{3, 34}}) {
    CAPTURE(to_string(shape));
    const auto x = random_tensor<double>(shape, 1, -4, 4);
    CHECK(gradcheck(fused, x));
    CHECK(agree(
        fused,
        [](const T64& both) {
          const std::int64_t half = both.extent(1) / 2;
          return silu(slice(both, 1, 0, half)) * slice(both, 1, half, 2 * half);
        },
        x));
  }
  CHECK(gradcheck(fused, random_tensor<double>({3, 9}, 2).columns(1, 6)));
  check_precisions(fused, random_tensor<double>({33, 130}, 3, -8, 8));
}

TEST_CASE("swiglu: large gates neither overflow nor vanish") {
  const auto y = swiglu(Tensor<float>::from({2, 2}, {200.0f, 3.0f, -200.0f, 3.0f}));
  CHECK(y.to_vector()[0] == doctest::Approx(600));
  CHECK(y.to_vector()[1] == doctest::Approx(0));
  CHECK_THROWS_WITH(swiglu(random_tensor<float>({2, 3}, 1)),
                    "[swiglu] gate_up (2, 3) must be a matrix with an even number of columns");
}
