#include <hone/nn/init.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

using namespace hone;

namespace {

/// Named weights, as a model shows them.
struct Weights {
  std::map<std::string, Tensor<float>> items;
  explicit Weights(const std::map<std::string, Shape>& shapes) {
    for (const auto& [name, shape] : shapes) items[name] = Tensor<float>::empty(Cpu{}, shape);
  }
  template <class F>
  void visit(F&& f) {
    for (auto& [name, tensor] : items) f(name, tensor);
  }
};

double mean(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}
double deviation(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

}  // namespace

TEST_CASE("init: matrices normal, norms one, biases zero") {
  Weights weights({{"up.weight", {300, 200}}, {"norm.weight", {7}}, {"up.bias", {5}}});
  initialise(weights, 42);
  const auto matrix = weights.items["up.weight"].to_vector();
  CHECK(std::abs(mean(matrix)) < 0.0005);
  CHECK(deviation(matrix) == doctest::Approx(0.02).epsilon(0.02));
  CHECK(weights.items["norm.weight"].to_vector() == std::vector<float>(7, 1.0f));
  CHECK(weights.items["up.bias"].to_vector() == std::vector<float>(5, 0.0f));
  initialise(weights, 42, 0.5);
  CHECK(deviation(weights.items["up.weight"].to_vector()) == doctest::Approx(0.5).epsilon(0.02));
}

TEST_CASE("init: a weight's numbers depend on seed and name, not on its neighbours") {
  Weights one({{"a", {4, 5}}, {"b", {4, 5}}}), two({{"b", {4, 5}}}), other({{"b", {4, 5}}});
  initialise(one, 7);
  initialise(two, 7);
  initialise(other, 8);
  CHECK(one.items["b"].to_vector() == two.items["b"].to_vector());
  CHECK(one.items["a"].to_vector() != one.items["b"].to_vector());
  CHECK(two.items["b"].to_vector() != other.items["b"].to_vector());
}

TEST_CASE("init: uniform numbers fill [-bound, bound)") {
  const auto out = Tensor<float>::empty(Cpu{}, {50000});
  fill_uniform(out, 0.25, 3, 4);
  const auto values = out.to_vector();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  CHECK(*low >= -0.25f);
  CHECK(*low < -0.249f);
  CHECK(*high < 0.25f);
  CHECK(*high > 0.249f);
  CHECK(std::abs(mean(values)) < 0.003);
}

TEST_CASE("init: stream_of is FNV-1a") {
  CHECK(stream_of("") == 0xcbf29ce484222325u);
  CHECK(stream_of("a") == 0xaf63dc4c8601ec8cu);
  CHECK(stream_of("foobar") == 0x85944171f73967e8u);
}
