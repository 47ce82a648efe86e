#include <hone/ops/embedding.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

TEST_CASE("embedding: gradients of repeated and unused rows, the composed op, other types") {
  for (const auto& ids : {ids_of({4, 0, 4, 2, 4}), ids_of({1}), ids_of({5, 5, 5})}) {
    const auto fused = [&](const auto& table) { return embedding(ids, table); };
    const auto table = random_tensor<double>({6, 7}, 1);
    CHECK(gradcheck(fused, table));
    CHECK(agree(
        fused, [&](const T64& t) { return index_select(t, 0, ids); }, table));
    check_precisions(fused, table);
  }
  CHECK_THROWS_WITH(embedding(ids_of({0}), random_tensor<double>({6}, 1)),
                    "[embedding] wants ids (N) and table (V, C), got (1,) and (6,)");
}
