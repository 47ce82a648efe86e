// reshape, permute, transpose, slice, concat, casts: the ops that move elements.
#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

namespace {
using hone::concat;  // a braced list has no associated namespace
using hone::Shape;
using hone::Tensor;
using hone::test::gradcheck;
using hone::test::random_tensor;
using T64 = Tensor<double>;
}  // namespace

TEST_CASE("reshape: gradients, sharing, and the extent left open") {
  const auto x = random_tensor<double>({3, 4}, 1);
  CHECK(gradcheck([](const T64& a) { return reshape(a, {2, 6}); }, x));
  CHECK(gradcheck([](const T64& a) { return reshape(a, {2, -1, 1, 2}) * 2; }, x));
  CHECK(gradcheck([](const T64& a) { return reshape(a, {-1}); }, random_tensor<double>({3, 6}, 2).columns(1, 4)));
  CHECK(gradcheck([](const T64& a) { return reshape(a, hone::Shape{}); }, random_tensor<double>({1, 1}, 2)));
  CHECK(gradcheck([](const T64& a) { return reshape(a, {0, 7}); }, random_tensor<double>({2, 0}, 2)));
  CHECK(reshape(x, {4, 3}).same_storage(x));
  CHECK(reshape(x, {-1, 2}).shape() == Shape{6, 2});
  CHECK_THROWS_WITH(reshape(x, {5, -1}), "[reshape] the 12 elements of shape (3, 4) do not come in 5s");
  CHECK_THROWS_WITH(reshape(x, {-1, -1}), "[reshape] extent -1 of axis 1: wanted 0 or more, or -1 once");
  CHECK_THROWS_WITH(reshape(x, {5, 2}), "[reshape] 12 elements of shape (3, 4) do not fit shape (5, 2)");
}

TEST_CASE("permute and transpose: gradients and values") {
  const auto x = random_tensor<double>({2, 3, 4}, 1);
  CHECK(gradcheck([](const T64& a) { return permute(a, {2, 0, 1}); }, x));
  CHECK(gradcheck([](const T64& a) { return permute(a, {0, -1, 1}); }, x));
  CHECK(gradcheck([](const T64& a) { return permute(a, {4, 2, 0, 3, 1}); }, random_tensor<double>({2, 3, 1, 2, 3}, 2)));
  CHECK(gradcheck([](const T64& a) { return transpose(a); }, random_tensor<double>({3, 5}, 3)));
  CHECK(gradcheck([](const T64& a) { return transpose(a, 0, 2); }, x));
  CHECK(gradcheck([](const T64& a) { return transpose(a); }, random_tensor<double>({3, 7}, 4).columns(2, 4)));
  CHECK(gradcheck([](const T64& a) { return transpose(a); }, random_tensor<double>({0, 5}, 3)));
  const auto y = permute(x, {2, 0, 1});
  REQUIRE(y.shape() == Shape{4, 2, 3});
  for (std::int64_t i = 0; i < 2; ++i)
    for (std::int64_t j = 0; j < 3; ++j)
      for (std::int64_t k = 0; k < 4; ++k) CHECK(y.data()[(k * 2 + i) * 3 + j] == x.data()[(i * 3 + j) * 4 + k]);
  CHECK_THROWS_WITH(permute(x, {0, 1}), "[permute] 2 axes for shape (2, 3, 4)");
  CHECK_THROWS_WITH(permute(x, {0, 1, -2}), "[permute] axis 1 is named twice");
  CHECK_THROWS_WITH(transpose(x, 0, 3), "[transpose] axis 3 of shape (2, 3, 4): wanted -3 to 2");
}

TEST_CASE("slice: gradients along every axis, overlapping slices add") {
  const auto x = random_tensor<double>({3, 4, 5}, 1);
  CHECK(gradcheck([](const T64& a) { return slice(a, 0, 1, 3); }, x));
  CHECK(gradcheck([](const T64& a) { return slice(a, 1, 0, 1); }, x));
  CHECK(gradcheck([](const T64& a) { return slice(a, -1, 2, 5); }, x));
  CHECK(gradcheck([](const T64& a) { return slice(a, 1, 2, 2); }, x));
  CHECK(gradcheck([](const T64& a) { return slice(a, 1, 0, 3) * slice(a, 1, 1, 4); }, x));
  CHECK(gradcheck([](const T64& a) { return slice(a, 1, 1, 3); }, random_tensor<double>({3, 6}, 2).columns(1, 4)));
  CHECK(slice(Tensor<int>::from({2, 3}, {1, 2, 3, 4, 5, 6}), 1, 1, 3).to_vector() == std::vector<int>{2, 3, 5, 6});
  CHECK_THROWS_WITH(slice(x, 1, 2, 5), "[slice] [2, 5) of axis 1 is outside shape (3, 4, 5)");
}

TEST_CASE("concat: gradients along every axis, with empty and repeated parts") {
  const auto a = random_tensor<double>({2, 3}, 1), b = random_tensor<double>({2, 1}, 2),
             c = random_tensor<double>({2, 0}, 3);
  CHECK(gradcheck([](const T64& x, const T64& y, const T64& z) { return concat({x, y, z, x}, 1); }, a, b, c));
  CHECK(gradcheck([](const T64& x, const T64& y) { return concat({x, y}, 0); }, a, random_tensor<double>({4, 3}, 4)));
  CHECK(gradcheck(
      [](const T64& x, const T64& y) {
        return concat({x, y}, -2);
      },
      random_tensor<double>({2, 1, 3}, 5), random_tensor<double>({2, 4, 3}, 6)));
  CHECK(concat({Tensor<int>::from({2, 1}, {1, 2}), Tensor<int>::from({2, 2}, {3, 4, 5, 6})}, 1).to_vector() ==
        std::vector<int>{1, 3, 4, 2, 5, 6});
  CHECK_THROWS_WITH(concat({a, random_tensor<double>({3, 3}, 1)}, 1),
                    "[concat] shape (3, 3) does not continue (2, 3) along axis 1");
  CHECK_THROWS_WITH(concat(std::vector<T64>{}, 0), "[concat] no tensors given");
}

TEST_CASE("casts round, and gradients are cast back") {
  const auto x = Tensor<double>::from({3}, {1.0 + 1e-9, -2.5, 3e10});
  CHECK(hone::to<float>(x).to_vector() == std::vector<float>{1, -2.5f, 3e10f});
  CHECK(hone::to<int>(Tensor<float>::from({2}, {2.9f, -2.9f})).to_vector() == std::vector<int>{2, -2});
  CHECK(hone::to<double>(Tensor<int>::from({1}, {2147483647})).item() == 2147483647.0);
  CHECK(static_cast<float>(hone::to<hone::bf16>(Tensor<float>::from({1}, {1.001f})).item()) == 1.0f);
  CHECK(static_cast<float>(hone::to<hone::fp16>(Tensor<double>::from({1}, {0.1})).item()) == 0.0999755859375f);
  CHECK(hone::to<bool>(Tensor<float>::from({2}, {0.0f, 0.5f})).to_vector() == std::vector<bool>{false, true});
  CHECK(hone::to<double>(x).same_storage(x));
  // Through bf16 and back the derivative is 1, and the gradient itself is rounded to bf16 on the way.
  auto leaf = Tensor<float>::from({2}, {0.1f, 7.0f});
  leaf.require_grad();
  const auto y = hone::to<float>(hone::to<hone::bf16>(leaf) * 3.0);
  y.backward(Tensor<float>::from({2}, {1.0f, 1.001f}));
  CHECK(leaf.gradient().to_vector() == std::vector<float>{3, 3});
  CHECK(gradcheck([](const T64& a) { return hone::to<double>(a) * 2; }, random_tensor<double>({3}, 1)));
}
