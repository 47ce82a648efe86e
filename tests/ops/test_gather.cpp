#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

namespace {
using hone::Shape;
using hone::Tensor;
using hone::test::gradcheck;
using hone::test::random_tensor;
using T64 = Tensor<double>;
using Ids = Tensor<std::int32_t>;
}  // namespace

TEST_CASE("index_select: gradients along every axis; repeated indices add up") {
  const auto x = random_tensor<double>({3, 4, 5}, 1);
  CHECK(gradcheck([](const T64& a) { return index_select(a, 0, Ids::from({4}, {2, 0, 2, 2})); }, x));
  CHECK(gradcheck([](const T64& a) { return index_select(a, 1, Ids::from({1}, {3})); }, x));
  CHECK(gradcheck([](const T64& a) { return index_select(a, -1, Ids::from({3}, {4, 4, 0})); }, x));
  CHECK(gradcheck([](const T64& a) { return index_select(a, 0, Ids::from({0}, {})); }, x));
  CHECK(gradcheck(
      [](const T64& a) {
        return index_select(a, 1, Ids::from({2}, {1, 0}));
      },
      random_tensor<double>({3, 6}, 2).columns(1, 4)));
  CHECK(index_select(Tensor<int>::from({2, 2}, {1, 2, 3, 4}), 0, Ids::from({3}, {1, 1, 0})).to_vector() ==
        std::vector<int>{3, 4, 3, 4, 1, 2});
}

TEST_CASE("take_along: one element per index, with gradients") {
  const auto x = random_tensor<double>({2, 3, 2}, 1);
  CHECK(gradcheck([](const T64& a) { return take_along(a, 1, Ids::from({2, 2, 2}, {0, 1, 0, 2, 2, 2, 1, 2})); }, x));
  CHECK(gradcheck([](const T64& a) { return take_along(a, 0, Ids::from({1, 3, 2}, {0, 1, 0, 1, 1, 1})); }, x));
  CHECK(gradcheck([](const T64& a) { return take_along(a, -1, Ids::from({2, 3, 1}, {0, 1, 0, 1, 1, 1})); }, x));
  const auto logits = Tensor<float>::from({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(take_along(logits, 1, Ids::from({2, 1}, {2, 0})).to_vector() == std::vector<float>{3, 4});
}

TEST_CASE("large gathers: right, and equal bits for any number of threads") {
  hone::Cpu one({.threads = 1}), three({.threads = 3});
  std::vector<std::int32_t> picks(2000);
  for (std::size_t i = 0; i < picks.size(); ++i) picks[i] = static_cast<std::int32_t>(hone::philox_word(1, 2, i) % 50u);
  const auto run = [&](const hone::Cpu& device) {
    auto table = random_tensor<float>({50, 600}, 1, -1, 1, device);
    table.require_grad();
    const auto y = index_select(table, 0, Ids::from(device, {2000}, picks));
    y.backward(random_tensor<float>({2000, 600}, 2, -1, 1, device));
    return std::array{y.detached(), table.gradient()};
  };
  const auto left = run(one), right = run(three);
  CHECK(hone::test::same_bits(left[0], right[0]));
  CHECK(hone::test::same_bits(left[1], right[1]));
  const auto dy = random_tensor<float>({2000, 600}, 2);
  double wanted = 0;
  for (std::size_t i = 0; i < picks.size(); ++i)
    if (picks[i] == 7) wanted += static_cast<double>(dy.data()[i * 600 + 599]);
  CHECK(static_cast<double>(left[1].data()[7 * 600 + 599]) == doctest::Approx(wanted).epsilon(1e-5));
}

TEST_CASE("indices are checked") {
  const auto x = random_tensor<float>({3, 4}, 1);
  CHECK_THROWS_WITH(index_select(x, 1, Ids::from({2}, {0, 4})), "[gather] index 4 at position 1 is outside [0, 4)");
  CHECK_THROWS_WITH(index_select(x, 0, Ids::from({1}, {-1})), "[gather] index -1 at position 0 is outside [0, 3)");
  CHECK_THROWS_WITH(index_select(x, 0, Ids::from({1, 1}, {0})),
                    "[index_select] indices of shape (1, 1): wanted rank 1");
  CHECK_THROWS_WITH(take_along(x, 0, Ids::from({1, 3}, {0, 0, 0})),
                    "[take_along] indices of shape (1, 3) for x (3, 4): all axes but 0 must be equal");
}
