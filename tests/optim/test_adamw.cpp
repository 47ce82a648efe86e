#include <hone/optim/adamw.hpp>

#include <doctest/doctest.h>

#include "optim/parameters.hpp"

#include <limits>

using namespace hone;
using namespace hone::test;

namespace {

/// torch.optim.AdamW for one number.
struct Reference {
  double weight, m = 0, v = 0;
  void step(double g, double decay, int t) {
    weight -= 0.01 * decay * weight;
    m = 0.8 * m + 0.2 * g;
    v = 0.95 * v + 0.05 * g * g;
    weight -= 0.01 * (m / (1 - std::pow(0.8, t))) / (std::sqrt(v / (1 - std::pow(0.95, t))) + 1e-6);
  }
};

/// Largest distance to the target after 300 steps on sum (w - target)^2 under a policy.
template <class T>
double distance_after_training(const Policy& policy, std::vector<double>* masters = nullptr) {
  const auto target = random_values(33, 1);
  auto w = Tensor<T>::from(Cpu{}, {33}, std::vector<T>(33, T(0.0f)));
  make_trainable(w, policy.gradients);
  AdamW optimizer(parameters_of(w), {.learning_rate = 0.01, .max_grad_norm = 0, .update = policy.update});
  for (int step = 0; step < 300; ++step) {
    std::vector<T> gradient;
    const auto values = doubles(w);
    for (std::size_t i = 0; i < 33; ++i) gradient.push_back(static_cast<T>(2 * (values[i] - target[i])));
    give_gradient(w, gradient);
    optimizer.step();
  }
  if (masters != nullptr) {
    *masters = state_of(optimizer)["p0.master"];
    for (double& value : *masters) value = static_cast<double>(static_cast<T>(value));
    CHECK(*masters == doubles(w));
  }
  return distance(doubles(w), target).worst;
}

}  // namespace

TEST_CASE("adamw: torch's arithmetic, with decay of matrices only") {
  const auto w = trainable<double>({2, 1}, 1), bias = trainable<double>({1}, 2);
  AdamW optimizer(parameters_of(w, bias), {.learning_rate = 0.01,
                                           .beta1 = 0.8,
                                           .beta2 = 0.95,
                                           .epsilon = 1e-6,
                                           .weight_decay = 0.1,
                                           .decay_vectors = false,
                                           .max_grad_norm = 0});
  std::vector<Reference> wanted;
  for (const double value : doubles(w)) wanted.push_back({value});
  wanted.push_back({doubles(bias)[0]});
  for (int t = 1; t <= 5; ++t) {
    const double g = 0.2 * t - 0.5;
    give_gradient<double>(w, {3 * g, -3 * g * g});
    give_gradient<double>(bias, {6 * g});
    optimizer.token_count() += 3;
    optimizer.step();
    wanted[0].step(g, 0.1, t);
    wanted[1].step(-g * g, 0.1, t);
    wanted[2].step(2 * g, 0, t);
    CHECK(close(doubles(w), {wanted[0].weight, wanted[1].weight}, w.shape(), 1e-14, 1e-12));
    CHECK(doubles(bias)[0] == doctest::Approx(wanted[2].weight).epsilon(1e-12));
  }
  CHECK(state_of(optimizer)["p1.exp_avg"][0] == doctest::Approx(wanted[2].m).epsilon(1e-12));
  CHECK(state_of(optimizer)["p1.exp_avg_sq"][0] == doctest::Approx(wanted[2].v).epsilon(1e-12));
}

TEST_CASE("adamw: the learning rate is the one set last; a parameter without a gradient stays") {
  const auto w = trainable<double>({1}, 1), idle = trainable<double>({1}, 2);
  const double before = doubles(w)[0], idle_before = doubles(idle)[0];
  AdamW optimizer(parameters_of(w, idle), {.learning_rate = 1, .weight_decay = 0.5, .max_grad_norm = 0});
  optimizer.set_learning_rate(0);
  give_gradient<double>(w, {1});
  optimizer.step();
  CHECK(doubles(w)[0] == before);
  optimizer.set_learning_rate(0.25);
  give_gradient<double>(w, {1});
  optimizer.step();
  CHECK(doubles(w)[0] == doctest::Approx(before * (1 - 0.25 * 0.5) - 0.25));
  CHECK(doubles(idle)[0] == idle_before);
}

TEST_CASE("adamw: a step that is not finite leaves moments and step count alone") {
  const auto w = trainable<float>({3}, 1);
  AdamW optimizer(parameters_of(w), {.learning_rate = 0.1});
  give_gradient<float>(w, {1, 2, 3});
  optimizer.step();
  const auto before = doubles(w);
  const auto state = state_of(optimizer);
  give_gradient<float>(w, {1, std::numeric_limits<float>::infinity(), 3});
  CHECK(optimizer.step().skipped);
  CHECK(doubles(w) == before);
  CHECK(state_of(optimizer) == state);
  CHECK(optimizer.steps() == 1);
}

TEST_CASE("adamw: every policy finds the minimum of a quadratic") {
  CHECK(distance_after_training<float>(policy::fp32) < 0.02);
  std::vector<double> masters;
  CHECK(distance_after_training<bf16>(policy::mixed, &masters) < 0.03);
  CHECK(distance_after_training<bf16>(policy::bf16) < 0.05);
}
