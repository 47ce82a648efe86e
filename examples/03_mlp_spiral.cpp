// A small network from the generic ops, trained with Adam in plain loops: which arm of a spiral is a point on?
#include <hone/engine.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <numbers>
#include <vector>

namespace {

using Tensor = hone::Tensor<float>;
using Labels = hone::Tensor<std::int32_t>;

struct Points {
  Tensor at;      // (N, 2)
  Labels labels;  // (N, 1)
};

/// Two arms of one and a half turns, half a turn apart, with some noise.
Points spiral(std::int64_t count) {
  const std::vector<float> along = hone::uniform<float>({count}).to_vector(),
                           noise = hone::randn<float>({count, 2}).to_vector();
  std::vector<float> at;
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < along.size(); ++i) {
    const auto arm = static_cast<std::int32_t>(i % 2);
    const float radius = 0.1f + 0.9f * std::sqrt(along[i]);
    const float angle = 3 * std::numbers::pi_v<float> * radius + std::numbers::pi_v<float> * static_cast<float>(arm);
    at.push_back(radius * std::cos(angle) + 0.02f * noise[2 * i]);
    at.push_back(radius * std::sin(angle) + 0.02f * noise[2 * i + 1]);
    labels.push_back(arm);
  }
  return {Tensor::from(hone::Cpu{}, {count, 2}, at), Labels::from(hone::Cpu{}, {count, 1}, labels)};
}

/// A weight and the two moments Adam keeps of its gradient.
struct Weight {
  explicit Weight(Tensor initial)
      : value(std::move(initial)), m(hone::zeros<float>(value.shape())), v(hone::zeros<float>(value.shape())) {}

  void adam(int step, double rate) {
    const hone::no_grad guard;
    const Tensor& g = value.gradient();
    m = m * 0.9 + g * 0.1;
    v = v * 0.999 + g * g * 0.001;
    const Tensor step_size = m / (1 - std::pow(0.9, step)) / (hone::sqrt(v / (1 - std::pow(0.999, step))) + 1e-8);
    value = value - step_size * rate;
  }

  Tensor value, m, v;
};

/// Linear layers with tanh between them.
class Mlp {
 public:
  explicit Mlp(const std::vector<std::int64_t>& widths) {
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(widths[i])));
      weights_.emplace_back(hone::randn<float>({widths[i], widths[i + 1]}) * scale);
      biases_.emplace_back(hone::zeros<float>({widths[i + 1]}));
    }
  }

  /// Scores of the classes (N, C) for x (N, in).
  Tensor operator()(const Tensor& x) const {
    Tensor h = x;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      h = hone::matmul(h, weights_[i].value) + biases_[i].value;
      if (i + 1 < weights_.size()) h = hone::tanh(h);
    }
    return h;
  }

  template <class F>
  void each(F&& f) {
    for (auto* list : {&weights_, &biases_})
      for (Weight& weight : *list) f(weight);
  }

 private:
  std::vector<Weight> weights_, biases_;
};

double accuracy(const Mlp& mlp, const Points& points) {
  const hone::no_grad guard;
  const Labels guesses = hone::argmax(mlp(points.at), 1, true);
  return static_cast<double>(hone::mean(hone::to<float>(guesses == points.labels)).item());
}

}  // namespace

int main() {
  hone::set_seed(7);
  const Points train = spiral(400), held_out = spiral(400);
  Mlp mlp({2, 32, 32, 2});
  constexpr int steps = 600;
  for (int step = 1; step <= steps; ++step) {
    mlp.each([](Weight& weight) { weight.value.require_grad(); });
    const Tensor scores = hone::log_softmax(mlp(train.at));                      // (N, 2)
    const Tensor loss = -hone::mean(hone::take_along(scores, 1, train.labels));  // cross-entropy
    loss.backward();
    mlp.each([step](Weight& weight) { weight.adam(step, 0.01); });
    if (step % 100 == 0) std::printf("step %d: loss %.4f\n", step, static_cast<double>(loss.item()));
  }
  const double right = accuracy(mlp, held_out);
  std::printf("accuracy on %d points not seen: %.1f %%\n", 400, 100 * right);
  return right > 0.97 ? 0 : 1;
}
