#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace {
using hone::Tensor;
using hone::test::gradcheck;
using hone::test::random_tensor;
using T64 = Tensor<double>;
using Bools = std::vector<bool>;
}  // namespace

TEST_CASE("comparisons give bools, with broadcasting and with numbers") {
  const auto a = Tensor<float>::from({3}, {1, 2, 3}), b = Tensor<float>::from({2, 1}, {2, 3});
  CHECK((a < b).to_vector() == Bools{true, false, false, true, true, false});
  CHECK((a <= b).to_vector() == Bools{true, true, false, true, true, true});
  CHECK((a > b).to_vector() == Bools{false, false, true, false, false, false});
  CHECK((a >= b).to_vector() == Bools{false, true, true, false, false, true});
  CHECK((a == b).to_vector() == Bools{false, true, false, false, false, true});
  CHECK((a != b).to_vector() == Bools{true, false, true, true, true, false});
  CHECK((a > 1.5).to_vector() == Bools{false, true, true});
  CHECK((a == 2).to_vector() == Bools{false, true, false});
  CHECK(sum(hone::to<float>(a >= 2)).item() == 2.0f);
  const auto nan = Tensor<float>::from({1}, {std::numeric_limits<float>::quiet_NaN()});
  CHECK_FALSE((nan == nan).item());
  CHECK((nan != nan).item());
  const auto big = Tensor<std::int64_t>::from({1}, {(std::int64_t{1} << 60) + 1});
  CHECK_FALSE((big == (big - 1)).item());  // not through double
}

TEST_CASE("where chooses, and gradients go to what was chosen") {
  const auto mask = random_tensor<double>({3, 5}, 1) > 0.0;
  const auto f = [&](const T64& a, const T64& b) { return where(mask, a, b); };
  CHECK(gradcheck(f, random_tensor<double>({3, 5}, 2), random_tensor<double>({3, 5}, 3)));
  CHECK(gradcheck(f, random_tensor<double>({5}, 2), random_tensor<double>({3, 1}, 3)));
  CHECK(gradcheck(f, random_tensor<double>({}, 2), random_tensor<double>({2, 1, 1}, 3)));
  // Nothing of a branch that was not taken comes through, not even as 0 * infinity.
  T64 x = T64::from({2}, {0, 4});
  x.require_grad();
  where(x > 0, sqrt(x), x * 3).backward(T64::from({2}, {1, std::numeric_limits<double>::infinity()}));
  CHECK(x.slot()->filled());
  T64 a = T64::from({1}, {1}), b = T64::from({1}, {1});
  a.require_grad();
  b.require_grad();
  where(a > 0, a, b).backward(T64::from({1}, {std::numeric_limits<double>::infinity()}));
  CHECK(b.gradient().item() == 0.0);
}
