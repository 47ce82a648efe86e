#include <hone/ops/rope.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

namespace {

const auto positions = ids_of({0, 1, 2, 0, 7});
const auto frequencies = Tensor<float>::from({3}, {1.0f, 0.25f, 0.01f});

/// The first two of three heads are rotated; the op works in place, so on a copy.
const auto rotated = [](const auto& x) {
  using T = typename std::decay_t<decltype(x)>::Element;
  auto y = x * 1.0;
  rope_in_place(y, 12, rope_table<Accumulator<T>>(positions, frequencies));
  return y;
};

}  // namespace

TEST_CASE("rope_table: fp32 angles, cos before sin") {
  const auto table = rope_table<double>(positions, frequencies);
  REQUIRE(table.shape() == Shape{5, 6});
  const auto values = table.to_vector();
  for (std::size_t i = 0; i < 3; ++i) {
    const float angle = 7.0f * frequencies.data()[i];
    CHECK(values[4 * 6 + i] == doctest::Approx(std::cos(static_cast<double>(angle))).epsilon(1e-6));
    CHECK(values[4 * 6 + 3 + i] == doctest::Approx(std::sin(static_cast<double>(angle))).epsilon(1e-6));
    CHECK(values[i] == 1.0);
    CHECK(values[3 + i] == 0.0);
  }
}

TEST_CASE("rope: gradients, the composed rotation, other types") {
  const auto x = random_tensor<double>({5, 18}, 1);
  CHECK(gradcheck(rotated, x));
  CHECK(agree(
      rotated,
      [](const T64& u) {
        const auto table = rope_table<double>(positions, frequencies);
        return concat(
            {composed_rope(slice(u, 1, 0, 6), table), composed_rope(slice(u, 1, 6, 12), table), slice(u, 1, 12, 18)},
            1);
      },
      x));
  check_precisions(rotated, x);
}

TEST_CASE("rope: one token, one head; errors") {
  const auto one = ids_of({3});
  const auto table = rope_table<double>(one, Tensor<float>::from({1}, {0.5f}));
  CHECK(gradcheck(
      [&](const T64& x) {
        auto y = x * 1.0;
        rope_in_place(y, 2, table);
        return y;
      },
      random_tensor<double>({1, 2}, 1)));
  CHECK_THROWS_WITH(rope_in_place(random_tensor<double>({2, 4}, 1), 2, table),
                    "[rope] table (1, 2) does not fit the first 2 columns of x (2, 4)");
  CHECK_THROWS_WITH(rope_in_place(random_tensor<double>({1, 3}, 1), 3, table),
                    "[rope] table (1, 2) does not fit the first 3 columns of x (1, 3)");
}
