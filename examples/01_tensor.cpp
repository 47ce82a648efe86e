// Tensors in ten lines: make some, compute, print.
#include <hone/engine.hpp>

#include <cstdio>

int main() {
  const auto x = hone::Tensor<float>::from({2, 3}, {1, 2, 3, 4, 5, 6});  // (2, 3)
  const auto w = hone::arange<float>(12) / 10;                           // (12)
  const auto y = hone::matmul(x, hone::reshape(w, {3, 4}));              // (2, 4)
  const auto centred = y - hone::mean(y, 1, true);                       // a (2, 1) mean, broadcast
  const auto best = hone::argmax(hone::softmax(centred), 1);             // (2)
  const auto positive = hone::where(centred > 0, centred, hone::zeros<float>({1}));
  for (const float value : positive.to_vector()) std::printf("%.2f ", static_cast<double>(value));
  std::printf("\nlargest columns: %d and %d\n", best.to_vector()[0], best.to_vector()[1]);
}
