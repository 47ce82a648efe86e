#include <hone/ops/attention.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

namespace {

struct Case {
  AttentionShape shape;
  std::vector<std::int32_t> documents;
};

constexpr double attention_scale = 0.4;
const std::vector<Case> cases = {
    {{2, 2, 4, 0, attention_scale}, {0, 1}},              // one token
    {{4, 2, 4, 0, attention_scale}, {0, 1, 6, 9}},        // documents of 1, 5 and 3 tokens, grouped heads
    {{3, 1, 6, 2, attention_scale}, {0, 4, 5, 10}},       // a window of two
    {{1, 1, 2, 1, attention_scale}, {0, 3}},              // every token sees only itself
    {{2, 1, 2, 100, attention_scale}, {0, 7, 7 + 2, 11}}  // a window no document fills
};

std::int64_t width(const AttentionShape& shape) { return (shape.heads + 2 * shape.kv_heads) * shape.head_dim; }

/// 0 where query i may look at key j, very negative elsewhere.
T64 mask(std::int64_t length, std::int64_t window) {
  auto out = zeros<double>({length, length});
  for (std::int64_t i = 0; i < length; ++i)
    for (std::int64_t j = 0; j < length; ++j)
      if (j > i || (window > 0 && j <= i - window)) out.data()[i * length + j] = -1e30;
  return out;
}

T64 composed_attention(const T64& qkv, const std::vector<std::int32_t>& documents, const AttentionShape& shape) {
  const auto head_of = [&](const T64& rows, std::int64_t head) {
    return slice(rows, 1, head * shape.head_dim, (head + 1) * shape.head_dim);
  };
  std::vector<T64> outs;
  for (std::size_t d = 0; d + 1 < documents.size(); ++d) {
    const auto rows = slice(qkv, 0, documents[d], documents[d + 1]);
    const auto hidden = mask(rows.extent(0), shape.window);
    std::vector<T64> heads;
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      const std::int64_t group = head / (shape.heads / shape.kv_heads);
      const auto k = head_of(rows, shape.heads + group), v = head_of(rows, shape.heads + shape.kv_heads + group);
      const auto scores = matmul(head_of(rows, head), k, {.transpose_b = true, .alpha = shape.scale}) + hidden;
      heads.push_back(matmul(softmax(scores), v));
    }
    outs.push_back(concat(heads, 1));
  }
  return concat(outs, 0);
}

}  // namespace

TEST_CASE("attention: gradients over packed documents, grouped heads and windows") {
  for (const Case& c : cases) {
    CAPTURE(c.documents.size());
    CAPTURE(c.shape.window);
    const auto documents = ids_of(c.documents);
    const auto fused = [&](const T64& qkv) { return attention(qkv, documents, c.shape); };
    const auto qkv = random_tensor<double>({c.documents.back(), width(c.shape)}, 1);
    CHECK(gradcheck(fused, qkv));
    CHECK(agree(
        fused, [&](const T64& x) { return composed_attention(x, c.documents, c.shape); }, qkv));
  }
}

TEST_CASE("attention: longer than a tile, against the composed op and in other types") {
  const Case c{{4, 2, 20, 0, 0.2}, {0, 1, 68, 70, 203}};
  const auto documents = ids_of(c.documents);
  for (const std::int64_t window : {std::int64_t{0}, std::int64_t{37}}) {
    AttentionShape shape = c.shape;
    shape.window = window;
    const auto fused = [&](const auto& qkv) { return attention(qkv, documents, shape); };
    const auto qkv = random_tensor<double>({203, width(shape)}, 2);
    CHECK(agree(
        fused, [&](const T64& x) { return composed_attention(x, c.documents, shape); }, qkv));
    check_precisions(fused, qkv);
  }
}

TEST_CASE("attention_cached continues where attention stopped") {
  const AttentionShape shape{4, 2, 6, 5, attention_scale};
  const auto qkv = random_tensor<double>({11, width(shape)}, 3);
  const auto whole = attention(qkv, ids_of({0, 11}), shape);
  const auto k = qkv.columns(24, 12), v = qkv.columns(36, 12);
  for (const std::int64_t count : {1, 4, 11}) {
    const auto out = attention_cached(qkv.columns(0, 24).rows(11 - count, count), k, v,
                                      ids_of({0, static_cast<std::int32_t>(count)}), ids_of({0, 11}), shape);
    CHECK(close(out, whole.rows(11 - count, count), 1e-13, 1e-12));
  }
}

TEST_CASE("attention names what does not fit") {
  CHECK_THROWS_WITH(attention(random_tensor<double>({2, 15}, 1), ids_of({0, 2}), {2, 1, 4, 0, 1.0}),
                    "[attention] qkv (2, 15) must have (2 + 2 x 1) heads of 4 columns");
}
