// Gradients: mark what you want them for, compute, call backward(). Here a line is fitted to four points.
#include <hone/engine.hpp>

#include <cmath>
#include <cstdio>

int main() {
  using Tensor = hone::Tensor<double>;
  const Tensor x = Tensor::from({4}, {0, 1, 2, 3}), y = Tensor::from({4}, {1, 3, 5, 7});  // y = 2 x + 1
  Tensor slope = Tensor::from({1}, {0}), offset = Tensor::from({1}, {0});

  for (int step = 0; step < 500; ++step) {
    slope.require_grad();  // a fresh slot, where the gradient will arrive
    offset.require_grad();
    const Tensor error = slope * x + offset - y;
    hone::mean(error * error).backward();

    const hone::no_grad guard;  // the update itself is not to be differentiated
    slope = slope - slope.gradient() * 0.1;
    offset = offset - offset.gradient() * 0.1;
  }
  std::printf("slope %.4f, offset %.4f\n", slope.item(), offset.item());

  // A gradient can be cut (detached), and memory traded for time: checkpoint() keeps its input and computes again.
  Tensor a = Tensor::from({1}, {0.5});
  a.require_grad();
  const Tensor b = hone::checkpoint([](const Tensor& t) { return hone::exp(t) * hone::sin(t); }, a);
  (b * a.detached()).backward();
  const double wanted = 0.5 * std::exp(0.5) * (std::sin(0.5) + std::cos(0.5));
  std::printf("derivative %.6f, by hand %.6f\n", a.gradient().item(), wanted);
  return std::abs(slope.item() - 2) < 1e-3 && std::abs(a.gradient().item() - wanted) < 1e-12 ? 0 : 1;
}
