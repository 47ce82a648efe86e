#include <hone/ops/dora.hpp>
#include <hone/ops/lora.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

namespace {

/// DoRA of a part (5 columns from `begin` on) with random magnitudes; the norms stay what they are, as in PEFT.
auto rescaled(const T64& weight, const T64& bias, const T64& a, const T64& b, std::int64_t begin) {
  const WeightPart<double, Cpu> part{0, weight, bias};
  const auto fresh = make_dora(part, a.detached(), zeros<double>(b.shape()), 0.5);
  const auto norms = dora_norms(fresh, a, b, 0.5);
  return [=](const auto& magnitude, const auto& y0) {
    Dora<double, Cpu> dora{part, fresh.base_squares, magnitude};
    auto y = y0 * 1.0;
    dora_rescale(dora, norms, y, begin);
    return y;
  };
}

}  // namespace

TEST_CASE("dora: gradients of magnitudes and of what LoRA left in y, with and without a bias") {
  for (const std::int64_t begin : {1, 2})
    for (const bool with_bias : {false, true}) {
      const auto weight = random_tensor<double>({5, 7}, 1), a = random_tensor<double>({3, 7}, 2),
                 b = random_tensor<double>({5, 3}, 3);
      const auto bias = with_bias ? random_tensor<double>({5}, 4) : T64{};
      const auto magnitude = random_tensor<double>({5}, 5), y0 = random_tensor<double>({4, 9}, 6);
      const auto op = rescaled(weight, bias, a, b, begin);
      CHECK(gradcheck(op, magnitude, y0));
      // The same from its definition: V's norms, and m / n times what lies above the bias.
      const auto v = weight + matmul(b, a) * 0.5;
      const auto norms = sqrt(sum(v * v, 1));
      const auto composed = [&](const T64& m, const T64& y) {
        const auto part = slice(y, 1, begin, begin + 5);
        const auto above = with_bias ? part - bias : part;
        const auto scaled = above * (m / norms.detached());
        return concat({slice(y, 1, 0, begin), with_bias ? scaled + bias : scaled, slice(y, 1, begin + 5, 9)}, 1);
      };
      CHECK(agree(op, composed, magnitude, y0));
    }
}

TEST_CASE("dora: at the start magnitudes are the norms, and no bit of y changes") {
  const auto weight = random_tensor<float>({6, 40}, 1), a = random_tensor<float>({2, 40}, 2), b = zeros<float>({6, 2});
  const auto bias = random_tensor<float>({6}, 3);
  const auto dora = make_dora(WeightPart<float, Cpu>{0, weight, bias}, a, b, 2.0);
  auto y = random_tensor<float>({3, 6}, 4);
  const auto before = y.to_vector();
  dora_rescale(dora, dora_norms(dora, a, b, 2.0), y, 0);
  CHECK(y.to_vector() == before);
}

TEST_CASE("dora: a row of zeros stays one, and merging gives rows their magnitudes") {
  auto weight = random_tensor<double>({3, 4}, 1);
  for (int i = 0; i < 4; ++i) weight.data()[4 + i] = 0;
  const auto a = random_tensor<double>({1, 4}, 2), b = zeros<double>({3, 1});
  const auto dora = make_dora(WeightPart<double, Cpu>{0, weight, {}}, a, b, 1.0);
  dora.magnitude.data()[0] *= 3;
  const auto before = weight.to_vector();
  dora_scale_rows(weight, dora.magnitude, dora_norms(dora, a, b, 1.0));
  for (std::size_t i = 0; i < 12; ++i)
    CHECK(weight.to_vector()[i] == doctest::Approx(before[i] * (i < 4 ? 3.0 : 1.0)).epsilon(1e-14));
}

TEST_CASE("dora: a bias that trains is refused") {
  auto bias = random_tensor<float>({3}, 3);
  bias.require_grad();
  const auto a = random_tensor<float>({1, 4}, 2), b = zeros<float>({3, 1});
  const auto dora = make_dora(WeightPart<float, Cpu>{0, random_tensor<float>({3, 4}, 1), bias}, a, b, 1.0);
  auto y = random_tensor<float>({2, 3}, 4);
  CHECK_THROWS_WITH_AS(dora_rescale(dora, dora.magnitude, y, 0), doctest::Contains("[dora] beside a bias that trains"),
                       Error);
}

TEST_CASE("lora: parts that share a stack have the outputs and gradients of parts apart") {
  constexpr std::int64_t in = 6;
  const auto x0 = random_tensor<double>({5, in}, 1), stack = random_tensor<double>({6, in}, 2);
  const std::array<std::int64_t, 3> outs = {4, 2, 3}, ranks = {3, 1, 2};
  const auto run = [&](bool stacked, const DropoutDraw& draw) {
    auto x = x0 * 1.0;
    x.require_grad();
    auto values = stack * 1.0;
    const auto gradient = zeros<double>({6, in});
    std::vector<LoraPart<double, Cpu>> parts;
    std::int64_t first = 0, begin = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      LoraPart<double, Cpu> part{values.rows(first, ranks[i]), random_tensor<double>({outs[i], ranks[i]}, 10 + i),
                                 0.5 + static_cast<double>(i), begin};
      part.a.set_slot(std::make_shared<GradientSlot<double, Cpu>>(gradient.rows(first, ranks[i])));
      part.b.set_slot(std::make_shared<GradientSlot<double, Cpu>>(zeros<double>(part.b.shape())));
      parts.push_back(part);
      first += ranks[i];
      begin += outs[i];
    }
    for (int pass = 0; pass < 2; ++pass) {  // the second one adds to what the first left
      auto y = random_tensor<double>({5, 9}, 20);
      if (stacked) {
        add_lora(x, LoraStackedA<double, Cpu>{values, gradient}, std::span<const LoraPart<double, Cpu>>(parts), draw,
                 y);
      } else {
        for (const auto& part : parts) add_lora(x, part.a, part.b, part.scale, draw, y, part.begin);
      }
      y.backward(random_tensor<double>({5, 9}, 21));
    }
    std::vector<std::vector<double>> out = {x.gradient().to_vector(), gradient.to_vector()};
    for (const auto& part : parts) out.push_back(part.b.gradient().to_vector());
    return out;
  };
  for (const DropoutDraw& draw : {DropoutDraw{}, DropoutDraw{0.3, {{4}, 7}}}) {
    const auto together = run(true, draw), apart = run(false, draw);
    for (std::size_t i = 0; i < apart.size(); ++i)
      for (std::size_t j = 0; j < apart[i].size(); ++j)
        CHECK(together[i][j] == doctest::Approx(apart[i][j]).epsilon(1e-12));
  }
}
