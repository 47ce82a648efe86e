#include <hone/ops/embedding.hpp>
#include <hone/ops/lora.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

namespace {

constexpr double scale = 1.75;

/// y0 with the LoRA added from column `begin`; in place, so on a copy.
auto added_lora(const DropoutDraw& draw, std::int64_t begin) {
  return [=](const auto& x, const auto& a, const auto& b, const auto& y0) {
    using A = AdapterElement<typename std::decay_t<decltype(x)>::Element>;
    auto y = y0 * 1.0;
    add_lora(x, to<A>(a), to<A>(b), scale, draw, y, begin);
    return y;
  };
}

/// keep / (1 - p) of every element.
T64 mask_of(const DropoutDraw& draw, const Shape& shape) {
  return hone::detail::dropped_out(ones<double>(shape), draw);
}

}  // namespace

TEST_CASE("lora: gradients of everything, anywhere in the output, with and without dropout") {
  const DropoutDraw none, some{0.4, {5, 77}};
  for (const std::int64_t tokens : {1, 4})
    for (const DropoutDraw& draw : {none, some})
      for (const std::int64_t begin : {0, 2}) {
        const auto x = random_tensor<double>({tokens, 7}, 1), a = random_tensor<double>({3, 7}, 2),
                   b = random_tensor<double>({5, 3}, 3), y0 = random_tensor<double>({tokens, 9}, 4);
        CHECK(gradcheck(added_lora(draw, begin), x, a, b, y0));
        const auto composed = [&](const T64& u, const T64& p, const T64& q, const T64& y) {
          const auto kept = u * mask_of(draw, u.shape());
          const auto delta = matmul(matmul(kept, p, {.transpose_b = true}), q, {.transpose_b = true, .alpha = scale});
          return y + concat({zeros<double>({tokens, begin}), delta, zeros<double>({tokens, 4 - begin})}, 1);
        };
        CHECK(agree(added_lora(draw, begin), composed, x, a, b, y0));
      }
}

TEST_CASE("lora of a lookup: gradients of both tables, and the composed definition") {
  for (const auto& ids : {ids_of({4, 0, 4, 2, 4}), ids_of({1})}) {
    const auto rows = ids.extent(0);
    const auto fused = [&](const auto& a, const auto& b, const auto& y0) {
      auto y = y0 * 1.0;
      add_product(embedding(ids, a), b, scale, y);
      return y;
    };
    const auto a = random_tensor<double>({6, 3}, 1), b = random_tensor<double>({5, 3}, 2),
               y0 = random_tensor<double>({rows, 5}, 3);
    CHECK(gradcheck(fused, a, b, y0));
    const auto composed = [&](const T64& p, const T64& q, const T64& y) {
      return y + matmul(index_select(p, 0, ids), q, {.transpose_b = true, .alpha = scale});
    };
    CHECK(agree(fused, composed, a, b, y0));
  }
}

TEST_CASE("lora: the same draw drops the same elements, another draw others") {
  const auto x = ones<double>({20, 30});
  const auto first = hone::detail::dropped_out(x, {0.3, {1, 0}});
  CHECK(same_bits(hone::detail::dropped_out(x, {0.3, {1, 0}}), first));
  CHECK_FALSE(same_bits(hone::detail::dropped_out(x, {0.3, {1, 600}}), first));
  CHECK_FALSE(same_bits(hone::detail::dropped_out(x, {0.3, {2, 0}}), first));
  int dropped = 0;
  for (const double value : doubles(first)) {
    if (value == 0)
      ++dropped;
    else
      CHECK(value == doctest::Approx(1 / 0.7));
  }
  CHECK(dropped > 120);
  CHECK(dropped < 240);
}

TEST_CASE("lora: float adapters over float and bf16") {
  check_precisions(added_lora({}, 3), random_tensor<double>({33, 65}, 1), random_tensor<double>({4, 65}, 2),
                   random_tensor<double>({17, 4}, 3), random_tensor<double>({33, 40}, 4));
}

TEST_CASE("lora names what does not fit") {
  auto y = random_tensor<double>({2, 4}, 4);
  CHECK_THROWS_WITH(add_lora(random_tensor<double>({2, 3}, 1), random_tensor<double>({2, 3}, 2),
                             random_tensor<double>({4, 2}, 3), 1.0, {}, y, 1),
                    "[lora] A (2, 3) and B (4, 2) do not fit x (2, 3) and y (2, 4) from column 1");
}
