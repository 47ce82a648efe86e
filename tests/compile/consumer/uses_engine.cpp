#include <hone/engine.hpp>

int main() {
  auto x = hone::Tensor<float>::from({1, 2}, {3.0f, 4.0f});
  auto weight = hone::Tensor<float>::from({2}, {1.0f, 1.0f});
  return hone::rms_norm(x, weight, 0.0).elements() == 2 ? 0 : 1;
}
