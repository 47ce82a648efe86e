// hone dropped into a program of somebody else's: the engine alone, no files, nothing to link.
// By CMake: see CMakeLists.txt beside this file. By hand, with HONE naming a copy of hone:
//   g++ -std=c++20 -O2 -Wall -Wextra -Wconversion -Wshadow -Werror -I$HONE/include main.cpp -o drop_in -pthread
#include <hone/engine.hpp>

#include <cstdint>
#include <cstdio>
#include <vector>

namespace {

using Matrix = hone::Tensor<float>;

/// A trainable weight under a name: normal random numbers, or zeros.
Matrix make_weight(const char* name, const hone::Shape& shape, double standard_deviation) {
  Matrix weight = Matrix::empty(hone::Cpu{}, shape, {hone::Category::weights, name});
  hone::fill_normal(weight, standard_deviation, 7, hone::stream_of(name));
  hone::make_trainable(weight);
  return weight;
}

struct Ring {
  Matrix points;  // (N, 2)
  Matrix inside;  // (N, 1): 1 where 0.4 < |p| < 0.8, else 0
};

Ring make_ring(std::int64_t side) {
  std::vector<float> points, inside;
  for (std::int64_t i = 0; i < side * side; ++i) {
    const float x = 2 * static_cast<float>(i / side) / static_cast<float>(side - 1) - 1;
    const float y = 2 * static_cast<float>(i % side) / static_cast<float>(side - 1) - 1;
    const float square = x * x + y * y;
    points.insert(points.end(), {x, y});
    inside.push_back(square > 0.16f && square < 0.64f ? 1.0f : 0.0f);
  }
  return {Matrix::from(hone::Cpu{}, {side * side, 2}, points), Matrix::from(hone::Cpu{}, {side * side, 1}, inside)};
}

}  // namespace

int main() {
  const Ring ring = make_ring(24);
  const Matrix w1 = make_weight("w1", {32, 2}, 1.5), b1 = make_weight("b1", {32}, 0.5);
  const Matrix w2 = make_weight("w2", {1, 32}, 0.2), b2 = make_weight("b2", {1}, 0.0);
  hone::AdamW optimizer(hone::ParameterList<hone::Cpu>{{{"w1", w1}, {"b1", b1}, {"w2", w2}, {"b2", b2}}, nullptr},
                        {.learning_rate = 0.02});

  const auto predict = [&] {
    return hone::sigmoid(hone::linear(hone::tanh(hone::linear(ring.points, w1, b1)), w2, b2));
  };
  float first = 0, last = 0;
  for (int step = 0; step < 400; ++step) {
    const Matrix error = predict() - ring.inside;
    const Matrix loss = hone::mean(error * error);
    loss.backward();
    optimizer.step();
    last = loss.item();
    if (step == 0) first = last;
    if (step % 100 == 0) std::printf("step %3d  loss %.4f\n", step, static_cast<double>(last));
  }
  std::printf("step 400  loss %.4f\n", static_cast<double>(last));
  return last < first / 4 ? 0 : 1;
}
