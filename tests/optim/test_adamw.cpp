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
double distance_after_training(const Policy& policy, std::vector<double>* masters = nullptr,
                               MomentType moments = MomentType::full, std::int64_t count = 33) {
  const auto target = random_values(count, 1);
  auto w = Tensor<T>::from(Cpu{}, {count}, std::vector<T>(target.size(), T(0.0f)));
  make_trainable(w, policy.gradients);
  AdamW optimizer(parameters_of(w),
                  {.learning_rate = 0.01, .max_grad_norm = 0, .update = policy.update, .moments = moments});
  for (int step = 0; step < 300; ++step) {
    std::vector<T> gradient;
    const auto values = doubles(w);
    for (std::size_t i = 0; i < target.size(); ++i) gradient.push_back(static_cast<T>(2 * (values[i] - target[i])));
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

TEST_CASE("adamw: moments of 16 and of 8 bits find it too") {
  CHECK(distance_after_training<float>(policy::fp32, nullptr, MomentType::bf16) < 0.02);
  CHECK(distance_after_training<bf16>(policy::mixed, nullptr, MomentType::bf16) < 0.03);
  CHECK(distance_after_training<float>(policy::fp32, nullptr, MomentType::blockwise_8bit, 4200) < 0.05);
  CHECK(distance_after_training<bf16>(policy::bf16, nullptr, MomentType::blockwise_8bit, 4200) < 0.05);
}

TEST_CASE("adamw: moments of bf16 follow gradients that shrink") {
  // A step changes exp_avg_sq by a thousandth at most, and rounding to nearest leaves it where it is below 2^-9 or so.
  const auto mean_square_moment = [](MomentType moments) {
    const auto w = trainable<float>({512}, 1);
    AdamW optimizer(parameters_of(w), {.learning_rate = 1e-3, .max_grad_norm = 0, .seed = 3, .moments = moments});
    for (int step = 0; step < 1500; ++step) {
      give_gradient(w, std::vector<float>(512, step < 5 ? 1.0f : 0.01f));
      optimizer.update();
    }
    double sum = 0;
    const auto state = state_of(optimizer);
    for (const double value : state.at("p0.exp_avg_sq")) sum += value / 512;
    return sum;
  };
  CHECK(mean_square_moment(MomentType::bf16) == doctest::Approx(mean_square_moment(MomentType::full)).epsilon(0.02));
}

TEST_CASE("adamw: which tensors of state there are, and how many bytes they take") {
  const auto bytes_of_state = [](MomentType moments, const Shape& shape) {
    const auto weight = trainable<float>(shape, 1);
    std::map<std::string, std::int64_t> out;
    AdamW optimizer(parameters_of(weight), {.moments = moments});
    optimizer.visit_state([&](const std::string& name, const auto& tensor) { out[name] = tensor.bytes(); });
    return out;
  };
  using Bytes = std::map<std::string, std::int64_t>;
  const Shape large{4096}, ragged{5000}, few{4095};
  CHECK(bytes_of_state(MomentType::full, large) == Bytes{{"p0.exp_avg", 16384}, {"p0.exp_avg_sq", 16384}});
  CHECK(bytes_of_state(MomentType::bf16, few) == Bytes{{"p0.exp_avg", 8190}, {"p0.exp_avg_sq", 8190}});
  CHECK(bytes_of_state(MomentType::blockwise_8bit, ragged) ==
        Bytes{{"p0.exp_avg", 5000}, {"p0.exp_avg.absmax", 80}, {"p0.exp_avg_sq", 5000}, {"p0.exp_avg_sq.absmax", 80}});
  const auto table = trainable<float>({64, 64}, 1);
  AdamW optimizer(ParameterList<Cpu>{{{"model.embed_tokens.weight", table}}, nullptr},
                  {.moments = MomentType::blockwise_8bit});
  CHECK(state_of(optimizer).size() == 2);  // no scales of blocks: embeddings keep 32 bits
  CHECK(bytes_of_state(MomentType::blockwise_8bit, few) == Bytes{{"p0.exp_avg", 16380}, {"p0.exp_avg_sq", 16380}});
}

TEST_CASE("adamw: small moments begin at zero, and a step that is not finite leaves them alone") {
  for (const MomentType moments : {MomentType::bf16, MomentType::blockwise_8bit}) {
    const auto w = trainable<float>({4200}, 1);
    AdamW optimizer(parameters_of(w), {.learning_rate = 0.1, .moments = moments});
    for (const auto& [name, values] : state_of(optimizer)) CHECK(norm(values) == 0.0);
    std::vector<float> gradient(4200, 0.5f);
    give_gradient(w, gradient);
    optimizer.step();
    const auto before = doubles(w);
    const auto state = state_of(optimizer);
    for (const auto& [name, values] : state) CHECK(norm(values) > 0.0);
    gradient[7] = std::numeric_limits<float>::quiet_NaN();
    give_gradient(w, gradient);
    optimizer.update();
    CHECK(optimizer.report().skipped);
    CHECK(optimizer.report().steps == 1);
    CHECK(doubles(w) == before);
    CHECK(state_of(optimizer) == state);
  }
}

TEST_CASE("adamw: names") {
  CHECK(moments_of_adamw("adamw") == MomentType::full);
  CHECK(moments_of_adamw("adamw_bf16") == MomentType::bf16);
  CHECK(moments_of_adamw("adamw_8bit") == MomentType::blockwise_8bit);
  CHECK(!moments_of_adamw("sgd").has_value());
  CHECK(adamw_name(MomentType::blockwise_8bit) == "adamw_8bit");
}
