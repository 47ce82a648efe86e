#include <hone/ops/linear.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

namespace {

/// The parts as ranges of one stack; their slots stay those of `weights` and `biases` (which may be undefined).
template <class T>
Tensor<T> stacked_linear(const Tensor<T>& x, const std::vector<Tensor<T>>& weights,
                         const std::vector<Tensor<T>>& biases) {
  std::int64_t rows = 0;
  for (const auto& weight : weights) rows += weight.extent(0);
  const auto stack = Tensor<T>::empty(x.device(), {rows, x.extent(1)});
  std::vector<WeightPart<T, Cpu>> parts;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < weights.size(); begin += weights[i++].extent(0)) {
    auto part = stack.rows(begin, weights[i].extent(0));
    copy_into(weights[i].detached(), part);
    part.set_slot(weights[i].slot());
    parts.push_back({begin, part, biases[i]});
  }
  return linear(x, stack, std::span<const WeightPart<T, Cpu>>(parts));
}

const auto qkv = [](const auto& x, const auto& q, const auto& k, const auto& v, const auto& bq, const auto& bk,
                    const auto& bv) {
  return stacked_linear(x, {q, k, v}, {bq, bk, bv});
};
const auto composed_qkv = [](const T64& x, const T64& q, const T64& k, const T64& v, const T64& bq, const T64& bk,
                             const T64& bv) {
  const auto one = [&](const T64& w, const T64& b) { return matmul(x, w, {.transpose_b = true}) + b; };
  return concat({one(q, bq), one(k, bk), one(v, bv)}, 1);
};

}  // namespace

TEST_CASE("linear: three stacked parts with biases, any of them frozen") {
  for (const std::int64_t tokens : {1, 5}) {
    const auto x = random_tensor<double>({tokens, 7}, 1);
    const auto q = random_tensor<double>({5, 7}, 2), k = random_tensor<double>({3, 7}, 3),
               v = random_tensor<double>({1, 7}, 4);
    const auto bq = random_tensor<double>({5}, 5), bk = random_tensor<double>({3}, 6),
               bv = random_tensor<double>({1}, 7);
    CHECK(gradcheck(qkv, x, q, k, v, bq, bk, bv));
    CHECK(agree(qkv, composed_qkv, x, q, k, v, bq, bk, bv));
  }
}

TEST_CASE("linear: one weight, with and without a bias") {
  for (const auto& [tokens, in, out] : {std::array<std::int64_t, 3>{1, 1, 1}, {1, 9, 3}, {6, 5, 1}, {3, 7, 5}}) {
    const auto x = random_tensor<double>({tokens, in}, 1), w = random_tensor<double>({out, in}, 2),
               b = random_tensor<double>({out}, 3);
    CHECK(gradcheck([](const T64& u, const T64& v) { return linear(u, v); }, x, w));
    CHECK(gradcheck([](const T64& u, const T64& v, const T64& c) { return linear(u, v, c); }, x, w, b));
  }
  const auto wide = random_tensor<double>({4, 9}, 4);
  CHECK(gradcheck([](const T64& u, const T64& v) { return linear(u, v); }, wide.columns(2, 5),
                  random_tensor<double>({3, 5}, 5)));
}

TEST_CASE("linear: float and bf16") {
  check_precisions(qkv, random_tensor<double>({33, 65}, 1), random_tensor<double>({17, 65}, 2),
                   random_tensor<double>({9, 65}, 3), random_tensor<double>({9, 65}, 4), random_tensor<double>({17}, 5),
                   random_tensor<double>({9}, 6), random_tensor<double>({9}, 7));
}

TEST_CASE("linear names what does not fit") {
  CHECK_THROWS_WITH(linear(random_tensor<float>({2, 3}, 1), random_tensor<float>({4, 5}, 2)),
                    "[linear] x (2, 3) must have as many columns as weight (4, 5)");
}
