#include <hone/ops/qk_norm_rope.hpp>
#include <hone/ops/rope.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

namespace {

constexpr double head_eps = 1e-6;
constexpr std::int64_t head_dim = 6, q_heads = 3, kv_heads = 1;
const auto head_frequencies = Tensor<float>::from({3}, {1.0f, 0.3f, 0.02f});

template <class S>
Tensor<S> table_for(std::int64_t tokens) {
  std::vector<std::int32_t> places;
  for (std::int64_t i = 0; i < tokens; ++i) places.push_back(static_cast<std::int32_t>(i % 3));
  return rope_table<S>(ids_of(places), head_frequencies);
}

const auto fused_heads = [](const auto& qkv, const auto& q, const auto& k) {
  using T = typename std::decay_t<decltype(qkv)>::Element;
  return qk_norm_rope(qkv, q_heads, kv_heads, q, k, head_eps, table_for<Accumulator<T>>(qkv.extent(0)));
};

T64 composed_heads(const T64& qkv, const T64& q, const T64& k) {
  const auto table = table_for<double>(qkv.extent(0));
  std::vector<T64> columns;
  for (std::int64_t head = 0; head < q_heads + kv_heads; ++head)
    columns.push_back(composed_rope(
        composed_rms_norm(slice(qkv, 1, head * head_dim, (head + 1) * head_dim), head < q_heads ? q : k, head_eps),
        table));
  columns.push_back(slice(qkv, 1, (q_heads + kv_heads) * head_dim, qkv.extent(1)));
  return concat(columns, 1);
}

}  // namespace

TEST_CASE("qk_norm_rope: gradients, the composed op, other types") {
  const auto q = random_tensor<double>({head_dim}, 2, 0.5, 1.5), k = random_tensor<double>({head_dim}, 3, 0.5, 1.5);
  for (const std::int64_t tokens : {1, 5}) {
    const auto qkv = random_tensor<double>({tokens, (q_heads + 2 * kv_heads) * head_dim}, 1);
    CHECK(gradcheck(fused_heads, qkv, q, k));
    CHECK(agree(fused_heads, composed_heads, qkv, q, k));
  }
  check_precisions(fused_heads, random_tensor<double>({33, 30}, 4), q, k);
}

TEST_CASE("qk_norm_rope names what does not fit") {
  const auto w = random_tensor<double>({head_dim}, 1);
  CHECK_THROWS_WITH(
      qk_norm_rope(random_tensor<double>({5, 29}, 1), q_heads, kv_heads, w, w, head_eps, table_for<double>(5)),
      "[qk_norm_rope] qkv (5, 29) must have 3 + 2 x 1 heads of 6 columns and the rows of table (5, 6)");
}
