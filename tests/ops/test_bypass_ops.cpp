// The ops of the methods beside LoRA: columns scaled and shifted, bottlenecks, virtual tokens. In fp64, against finite
// differences and the composed definitions.
#include <hone/ops/bottleneck.hpp>
#include <hone/ops/tensor_ops.hpp>
#include <hone/ops/virtual_tokens.hpp>

#include "fused.hpp"

#include <cmath>
#include <vector>

using namespace hone;
using namespace hone::test;

namespace {

constexpr std::array activations = {Activation::relu, Activation::gelu, Activation::swish, Activation::tanh,
                                    Activation::leakyrelu};

Tensor<std::int32_t> ids(const std::vector<std::int32_t>& values) {
  return Tensor<std::int32_t>::from(Cpu{}, {static_cast<std::int64_t>(values.size())}, values);
}

T64 rows_of(const T64& x, std::int64_t begin, std::int64_t count) { return slice(x, 0, begin, begin + count); }

/// softmax(scale q k^T) v of one document's queries, which see the keys before their own and theirs.
T64 plain_attention(const T64& q, const T64& k, const T64& v, double scale, std::int64_t window) {
  const std::int64_t queries = q.extent(0), keys = k.extent(0);
  auto mask = zeros<double>({queries, keys});
  for (std::int64_t i = 0; i < queries; ++i)
    for (std::int64_t j = 0; j < keys; ++j) {
      const std::int64_t at = keys - queries + i;
      if (j > at || (window > 0 && j <= at - window)) mask.data()[i * keys + j] = -1e30;
    }
  return matmul(softmax(matmul(q, k, {.transpose_b = true, .alpha = scale}) + mask, 1), v);
}

}  // namespace

TEST_CASE("columns: gradients of scaling, in place and not, and of adding") {
  const auto x = random_tensor<double>({5, 7}, 1), l = random_tensor<double>({7}, 2),
             part = random_tensor<double>({3}, 3);
  const auto scaled = [](const T64& u, const T64& v) { return scale_columns(u, v); };
  CHECK(gradcheck(scaled, x, l));
  CHECK(agree(
      scaled, [](const T64& u, const T64& v) { return u * v; }, x, l));
  const auto in_place = [](const T64& u, const T64& v) {
    auto y = u * 1.0;
    scale_columns_in_place(y, 2, v);
    return y;
  };
  CHECK(gradcheck(in_place, x, part));
  CHECK(agree(
      in_place,
      [](const T64& u, const T64& v) {
        return concat({slice(u, 1, 0, 2), slice(u, 1, 2, 5) * v, slice(u, 1, 5, 7)}, 1);
      },
      x, part));
  const auto added = [](const T64& u, const T64& v) {
    auto y = u * 1.0;
    add_columns_in_place(y, 4, v, 0.5);
    return y;
  };
  CHECK(gradcheck(added, x, part));
  CHECK_THROWS_WITH_AS(scale_columns(x, part), doctest::Contains("[scale_columns]"), Error);
  auto y = x * 1.0;
  CHECK_THROWS_WITH_AS(add_columns_in_place(y, 5, part), doctest::Contains("do not fit y (5, 7) from column 5"), Error);
}

TEST_CASE("activations: values are torch's, slopes are those of the values") {
  const auto x = Tensor<double>::from(Cpu{}, {1, 4}, std::vector<double>{-1.5, -0.2, 0.3, 2.0});
  const std::vector<std::vector<double>> wanted = {{0, 0, 0.3, 2.0},
                                                   {-0.100210801903, -0.0841480581122, 0.185373426657, 1.9544997361},
                                                   {-0.27363828571, -0.0900332005375, 0.172332755043, 1.76159415596},
                                                   {-0.905148253645, -0.197375320225, 0.291312612452, 0.964027580076},
                                                   {-0.015, -0.002, 0.3, 2.0}};
  for (std::size_t kind = 0; kind < activations.size(); ++kind) {
    const auto values = doubles(activate(x, activations[kind]));
    for (std::size_t i = 0; i < 4; ++i) CHECK(values[i] == doctest::Approx(wanted[kind][i]).epsilon(1e-8));
    CHECK(gradcheck([&](const T64& u) { return activate(u, activations[kind]); }, x));
    CHECK(activation_named(name_of(activations[kind])) == activations[kind]);
  }
}

TEST_CASE("bottleneck: gradients of everything, and the composed definition") {
  const auto x = random_tensor<double>({4, 6}, 1), y0 = random_tensor<double>({4, 6}, 2),
             down = random_tensor<double>({3, 6}, 3), down_bias = random_tensor<double>({3}, 4),
             up = random_tensor<double>({6, 3}, 5), up_bias = random_tensor<double>({6}, 6);
  for (const Activation kind : activations) {
    const auto fused = [&](const T64& u, const T64& a, const T64& ab, const T64& b, const T64& bb, const T64& v) {
      auto y = duplicate(v);
      add_bottleneck(u, {a, ab, b, bb}, kind, 1.5, y);
      return y;
    };
    CHECK(gradcheck(fused, x, down, down_bias, up, up_bias, y0));
    const auto composed = [&](const T64& u, const T64& a, const T64& ab, const T64& b, const T64& bb, const T64& v) {
      const auto g = activate(matmul(u, a, {.transpose_b = true}) + ab, kind);
      return v + (matmul(g, b, {.transpose_b = true}) + bb) * 1.5;
    };
    CHECK(agree(fused, composed, x, down, down_bias, up, up_bias, y0));
  }
  auto y = random_tensor<double>({4, 5}, 7);
  CHECK_THROWS_WITH_AS(add_bottleneck(x, {down, down_bias, up, up_bias}, Activation::relu, 1, y),
                       doctest::Contains("[bottleneck] down (3, 6) and up (6, 3) do not fit"), Error);
}

TEST_CASE("virtual embedding: gradients of the rows, summed over documents") {
  const auto table = random_tensor<double>({9, 5}, 1), rows = random_tensor<double>({2, 5}, 2);
  const auto numbers = ids({-1, -2, 4, 4, -1, -2, 8, 0}), documents = ids({0, 4, 8});
  const auto fused = [&](const T64& r) { return virtual_embedding(numbers, documents, table, r); };
  CHECK(gradcheck(fused, rows));
  const auto composed = [&](const T64& r) {
    return concat({r, rows_of(table, 4, 1), rows_of(table, 4, 1), r, rows_of(table, 8, 1), rows_of(table, 0, 1)}, 0);
  };
  CHECK(agree(fused, composed, rows));
  CHECK_THROWS_WITH_AS(virtual_embedding(ids({-3}), ids({0, 1}), table, rows), doctest::Contains("[join_rows]"), Error);
  CHECK_THROWS_WITH_AS(virtual_embedding(ids({9}), ids({0, 1}), table, rows), doctest::Contains("[join_rows]"), Error);
}

TEST_CASE("virtual rows: where every row comes from and goes, with room to spare or without") {
  const auto exact = virtual_rows(ids({0, 2, 3}), 3, 2, 4, 2, false);
  CHECK(exact.capacity == 3 + 2 * 4);
  CHECK(exact.source.to_vector() == std::vector<std::int32_t>{-1, -2, 0, 1, -1, -2, 2});
  CHECK(exact.place.to_vector() == std::vector<std::int32_t>{2, 3, 6});
  CHECK(exact.queries.to_vector() == std::vector<std::int32_t>{0, 2, 3});
  CHECK(exact.keys.to_vector() == std::vector<std::int32_t>{0, 4, 7});
  // As a card has it: trailing documents are empty, shapes fixed.
  const auto fixed = virtual_rows(ids({0, 2, 3, 3}), 3, 2, 3, 2, true);
  CHECK(fixed.source.to_vector() == std::vector<std::int32_t>{-1, -2, 0, 1, -1, -2, 2, -1, -1});
  CHECK(fixed.queries.to_vector() == std::vector<std::int32_t>{0, 2, 3, 3, 3});
  CHECK(fixed.keys.to_vector() == std::vector<std::int32_t>{0, 4, 7, 7, 9});
}

TEST_CASE("prefixed attention: gradients, and the composed definition, with and without a window") {
  // Two documents of 2 and 3 tokens; two query heads share a key head of 2 columns; a prefix of 2 in columns [4, 8).
  const auto qkv = random_tensor<double>({5, 8}, 1), table = random_tensor<double>({2, 8}, 2);
  for (const bool fixed : {false, true})
    for (const std::int64_t window : {0, 3}) {
      const AttentionShape shape{2, 1, 2, window, 0.7};
      const auto layout = virtual_rows(fixed ? ids({0, 2, 5, 5, 5}) : ids({0, 2, 5}), 5, 2, 3, 2, fixed);
      const auto fused = [&](const T64& x, const T64& t) { return prefixed_attention(x, t, 4, layout, shape); };
      CHECK(gradcheck(fused, qkv, table));
      const auto composed = [&](const T64& x, const T64& t) {
        std::vector<T64> documents;
        for (const auto& [begin, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 2}, {2, 3}}) {
          const auto own = rows_of(x, begin, count);
          const auto k = concat({slice(t, 1, 4, 6), slice(own, 1, 4, 6)}, 0);
          const auto v = concat({slice(t, 1, 6, 8), slice(own, 1, 6, 8)}, 0);
          documents.push_back(concat({plain_attention(slice(own, 1, 0, 2), k, v, 0.7, window),
                                      plain_attention(slice(own, 1, 2, 4), k, v, 0.7, window)},
                                     1));
        }
        return concat(documents, 0);
      };
      CHECK(agree(fused, composed, qkv, table));
    }
}
