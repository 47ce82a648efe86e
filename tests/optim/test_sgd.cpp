// What all optimizers share, shown on the simplest: scaling by tokens, accumulation, clipping, skipped steps.
#include <hone/ops/lm_head_cross_entropy.hpp>
#include <hone/optim/sgd.hpp>

#include <doctest/doctest.h>

#include "optim/parameters.hpp"

#include <limits>

using namespace hone;
using namespace hone::test;

namespace {

/// Adds the gradient of the summed loss of tokens [begin, end) and counts them.
void accumulate(const Tensor<double>& weight, const Tensor<double>& x, std::int32_t begin, std::int32_t end,
                std::int64_t& tokens) {
  std::vector<std::int32_t> rows, targets;
  for (std::int32_t i = begin; i < end; ++i) {
    rows.push_back(i);
    targets.push_back(i % 5);
  }
  const Shape count{end - begin};
  lm_head_cross_entropy(x, weight,
                        Supervision<Cpu>{Tensor<std::int32_t>::from(Cpu{}, count, rows),
                                         Tensor<std::int32_t>::from(Cpu{}, count, targets), end - begin})
      .backward();
  tokens += end - begin;
}

}  // namespace

TEST_CASE("optimizer: the step is the mean over its tokens, and the count starts anew") {
  const auto w = trainable<double>({3}, 1);
  const auto before = doubles(w);
  Sgd optimizer(parameters_of(w), {.learning_rate = 0.5, .max_grad_norm = 0});
  give_gradient<double>(w, {4, -8, 12});
  optimizer.token_count() += 4;
  const auto report = optimizer.step();
  CHECK(report.tokens == 4);
  CHECK_FALSE(report.skipped);
  CHECK(report.grad_norm == doctest::Approx(norm({1, -2, 3})));
  CHECK(close(doubles(w), {before[0] - 0.5, before[1] + 1, before[2] - 1.5}, w.shape(), 1e-15, 0));
  CHECK(optimizer.token_count() == 0);
  CHECK_FALSE(w.slot()->filled());
  CHECK(optimizer.steps() == 1);
}

TEST_CASE("optimizer: two ragged batches accumulated are one big batch") {
  const auto x = random_tensor<double>({9, 4}, 1);
  const auto once = trainable<double>({5, 4}, 2), twice = trainable<double>({5, 4}, 2);
  Sgd one(parameters_of(once), {.learning_rate = 0.3, .momentum = 0.9});
  Sgd two(parameters_of(twice), {.learning_rate = 0.3, .momentum = 0.9});
  for (int step = 0; step < 3; ++step) {
    accumulate(once, x, 0, 9, one.token_count());
    accumulate(twice, x, 0, 7, two.token_count());
    accumulate(twice, x, 7, 9, two.token_count());
    CHECK(one.step().grad_norm == doctest::Approx(two.step().grad_norm).epsilon(1e-12));
    CHECK(close(twice, once, 1e-14, 1e-12));
  }
  CHECK_FALSE(same_bits(once, random_tensor<double>({5, 4}, 2)));
}

TEST_CASE("optimizer: clipping shortens long gradients and leaves short ones") {
  const auto w = trainable<double>({2}, 1);
  const auto v = trainable<double>({2, 2}, 2);
  Sgd optimizer(parameters_of(w, v), {.learning_rate = 1, .max_grad_norm = 0.5});
  const auto moved = [&](double size) {
    const auto w_before = doubles(w), v_before = doubles(v);
    give_gradient<double>(w, {size, -size});
    give_gradient<double>(v, {size, size, -size, size});
    const double reported = optimizer.step().grad_norm;
    CHECK(reported == doctest::Approx(size * std::sqrt(6.0)));
    double sum = 0;
    for (std::size_t i = 0; i < 2; ++i) sum += std::pow(doubles(w)[i] - w_before[i], 2);
    for (std::size_t i = 0; i < 4; ++i) sum += std::pow(doubles(v)[i] - v_before[i], 2);
    return std::sqrt(sum);
  };
  CHECK(moved(10) == doctest::Approx(0.5).epsilon(1e-6));  // the norm is that of all parameters together
  CHECK(moved(0.01) == doctest::Approx(0.01 * std::sqrt(6.0)).epsilon(1e-6));
}

TEST_CASE("optimizer: a step that is not finite changes nothing and is forgotten") {
  for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const auto w = trainable<double>({2}, 1), v = trainable<double>({2}, 2);
    Sgd optimizer(parameters_of(w, v), {.learning_rate = 0.1, .momentum = 0.9});
    give_gradient<double>(w, {1, 2});
    give_gradient<double>(v, {3, 4});
    optimizer.step();
    const auto w_before = doubles(w), v_before = doubles(v);
    const auto state_before = state_of(optimizer);
    give_gradient<double>(w, {1, 2});
    give_gradient<double>(v, {3, bad});
    optimizer.token_count() += 7;
    const auto report = optimizer.step();
    CHECK(report.skipped);
    CHECK_FALSE(std::isfinite(report.grad_norm));
    CHECK(doubles(w) == w_before);
    CHECK(doubles(v) == v_before);
    CHECK(state_of(optimizer) == state_before);
    CHECK(optimizer.steps() == 1);
    CHECK(optimizer.token_count() == 0);
    CHECK_FALSE(w.slot()->filled());
    give_gradient<double>(w, {1, 2});
    CHECK_FALSE(optimizer.step().skipped);
  }
}

TEST_CASE("optimizer: a loss whose backward was not called is refused until dropped") {
  const auto x = random_tensor<double>({3, 4}, 1);
  const auto w = trainable<double>({5, 4}, 2);
  Sgd optimizer(parameters_of(w), {.learning_rate = 0.1});
  const auto ids = Tensor<std::int32_t>::from({2}, {0, 2});
  const auto forgotten = lm_head_cross_entropy(x, w, Supervision<Cpu>{ids, ids, 2});
  CHECK_THROWS_WITH_AS(optimizer.step(), doctest::Contains("[optimizer] the gradient of p0 holds a loss whose"), Error);
  current_tape().clear();
  optimizer.zero_grad();
  const auto before = doubles(w);
  CHECK(optimizer.step().grad_norm == 0.0);
  CHECK(doubles(w) == before);
}

TEST_CASE("sgd: momentum and weight decay as torch.optim.SGD has them") {
  const auto w = trainable<double>({2, 1}, 1), bias = trainable<double>({1}, 2);
  auto expected = doubles(w);
  auto expected_bias = doubles(bias)[0];
  Sgd optimizer(
      parameters_of(w, bias),
      {.learning_rate = 0.1, .momentum = 0.8, .weight_decay = 0.01, .decay_vectors = false, .max_grad_norm = 0});
  std::vector<double> momentum(2, 0.0);
  double bias_momentum = 0;
  for (int step = 1; step <= 4; ++step) {
    const double g = 0.3 * step;
    give_gradient<double>(w, {g, -g});
    give_gradient<double>(bias, {g});
    optimizer.step();
    for (std::size_t i = 0; i < 2; ++i) {
      momentum[i] = 0.8 * momentum[i] + (i == 0 ? g : -g) + 0.01 * expected[i];
      expected[i] -= 0.1 * momentum[i];
    }
    bias_momentum = 0.8 * bias_momentum + g;
    expected_bias -= 0.1 * bias_momentum;
    CHECK(close(doubles(w), expected, w.shape(), 1e-14, 1e-12));
    CHECK(doubles(bias)[0] == doctest::Approx(expected_bias).epsilon(1e-12));
  }
  CHECK(state_of(optimizer).size() == 2);
  CHECK(state_of(optimizer).contains("p0.momentum_buffer"));
}

TEST_CASE("optimizer: frozen and missing parameters are refused") {
  const auto frozen = random_tensor<float>({2}, 1);
  CHECK_THROWS_WITH(Sgd(parameters_of(frozen), {}), "[optimizer] parameter p0 is frozen");
  CHECK_THROWS_WITH(Sgd(ParameterList<Cpu>{}, {}), "[optimizer] there is no trainable parameter");
}

TEST_CASE("sgd: stochastic rounding moves bf16 weights by steps that rounding to nearest loses") {
  const auto run = [](WeightUpdate update, std::uint64_t seed) {
    auto w = Tensor<bf16>::from(Cpu{}, {2000}, std::vector<bf16>(2000, bf16(1.0f)));
    make_trainable(w);
    Sgd optimizer(parameters_of(w), {.learning_rate = 1e-4, .max_grad_norm = 0, .update = update, .seed = seed});
    for (int step = 0; step < 100; ++step) {
      give_gradient(w, std::vector<bf16>(2000, bf16(1.0f)));
      optimizer.step();
    }
    return doubles(w);
  };
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  };
  CHECK(mean(run(WeightUpdate::plain, 0)) == 1.0);
  const auto rounded = run(WeightUpdate::stochastic_rounding, 5);
  CHECK(mean(rounded) == doctest::Approx(0.99).epsilon(0.001));
  CHECK(run(WeightUpdate::stochastic_rounding, 5) == rounded);
  CHECK(run(WeightUpdate::stochastic_rounding, 6) != rounded);
}
