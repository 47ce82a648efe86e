#include "support/gradcheck.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

namespace {

using hone::Tensor;
using hone::test::gradcheck;
using hone::test::random_tensor;
using hone::test::same_bits;
using T64 = Tensor<double>;

/// A block with a parameter of its own: tanh(x w) + x.
T64 block(const T64& x, const T64& w) { return tanh(matmul(x, w)) + x; }

}  // namespace

TEST_CASE("checkpoint: gradients, nested, with several inputs, with captured parameters") {
  const auto x = random_tensor<double>({3, 4}, 1), w = random_tensor<double>({4, 4}, 2);
  CHECK(gradcheck([](const T64& a) { return checkpoint([](const T64& b) { return exp(b) * b; }, a); }, x));
  CHECK(gradcheck([](const T64& a, const T64& b) { return checkpoint(block, a, b); }, x, w));
  CHECK(gradcheck([](const T64& a, const T64& b) { return checkpoint([&b](const T64& c) { return block(c, b); }, a); },
                  x, w));
  CHECK(gradcheck(
      [](const T64& a, const T64& b) {
        const auto inner = [b](const T64& c) { return block(c, b); };
        return checkpoint([inner](const T64& c) { return checkpoint(inner, inner(c)) * 2; }, a * a);
      },
      x, w));
  CHECK(gradcheck([](const T64& a) { return checkpoint([](const T64& b) { return b; }, a) + a; }, x));
}

TEST_CASE("checkpoint gives the same bits as no checkpoint, dropout included") {
  const auto run = [](bool recompute) {
    hone::set_seed(11);
    auto x = random_tensor<double>({5, 4}, 1), w = random_tensor<double>({4, 4}, 2);
    x.require_grad();
    w.require_grad();
    const auto noisy = [&w](const T64& a) { return dropout(block(dropout(a, 0.3), w), 0.3); };
    T64 y = x;
    for (int i = 0; i < 3; ++i) y = recompute ? checkpoint(noisy, y) : noisy(y);
    y = dropout(y, 0.5);
    y.backward(random_tensor<double>({5, 4}, 3));
    return std::array{y.detached(), x.gradient(), w.gradient(), hone::uniform<double>({3})};
  };
  const auto plain = run(false), recomputed = run(true);
  for (std::size_t i = 0; i < plain.size(); ++i) CHECK(same_bits(recomputed[i], plain[i]));
}

TEST_CASE("parameters inside get gradients although the input has none") {
  const auto x = random_tensor<double>({3, 4}, 1);
  auto w = random_tensor<double>({4, 4}, 2);
  w.require_grad();
  const auto y = checkpoint([&w](const T64& a) { return block(a, w); }, x);
  CHECK(y.requires_grad());
  sum(y).backward();
  const auto got = w.gradient().to_vector();
  w.require_grad();
  sum(block(x, w)).backward();
  CHECK(got == w.gradient().to_vector());
  CHECK_FALSE(x.requires_grad());
}

TEST_CASE("checkpoint keeps only its input, records nothing under no_grad, and passes errors on") {
  hone::Cpu device;
  auto x = random_tensor<double>({64, 64}, 1);
  x.require_grad();
  const auto live = [&] { return device.memory().ledger().device().now; };
  const auto deep = [](const T64& a) { return exp(tanh(exp(tanh(exp(tanh(a)))))); };
  const std::int64_t before = live();
  {
    const auto y = checkpoint(deep, x);
    CHECK(live() - before == x.bytes());  // y
    hone::current_tape().clear();
  }
  CHECK(live() == before);
  {
    hone::no_grad guard;
    CHECK_FALSE(checkpoint(deep, x).requires_grad());
    CHECK(hone::current_tape().size() == 0);
  }
  int calls = 0;
  const auto y =
      checkpoint([&calls](const T64& a) { return ++calls == 2 ? (hone::fail("[test] second time"), a) : exp(a); }, x);
  CHECK_THROWS_WITH(sum(y).backward(), "[test] second time");
  CHECK(hone::current_tape().size() == 0);
  CHECK(hone::grad_enabled());
}
