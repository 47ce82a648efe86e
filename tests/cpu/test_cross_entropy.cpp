#include <hone/cpu/cross_entropy.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

namespace {

template <class S>
struct Tensors {
  Matrix<S> logits, losses;
  std::vector<std::int32_t> targets;

  Tensors(std::int64_t rows, std::int64_t cols, double spread)
      : logits(random_matrix<S>(rows, cols, 1, spread, 3)), losses(1, rows) {
    for (std::int64_t r = 0; r < rows; ++r)
      targets.push_back(r % 3 == 1 ? -100 : static_cast<std::int32_t>(r * 7 % cols));
  }
  void run(const Cpu& cpu, bool write_gradient, double scale) {
    run_kernel<kernel::CrossEntropy>(cpu, logits.view(), View<std::int32_t, 1>{targets.data(), {logits.rows}, 1},
                                     losses.row(), write_gradient, scale);
  }
};

struct Reference {
  Matrix<double> losses, gradient;
};

template <class S>
Reference reference(const Tensors<S>& t, double scale) {
  Reference out{Matrix<double>(1, t.logits.rows), Matrix<double>(t.logits.rows, t.logits.cols)};
  for (std::int64_t r = 0; r < t.logits.rows; ++r) {
    const std::int32_t target = t.targets[static_cast<std::size_t>(r)];
    double largest = -1e300, sum = 0;
    for (std::int64_t c = 0; c < t.logits.cols; ++c) largest = std::max(largest, value(t.logits(r, c)));
    for (std::int64_t c = 0; c < t.logits.cols; ++c) sum += std::exp(value(t.logits(r, c)) - largest);
    out.losses(0, r) = target < 0 ? 0.0 : largest + std::log(sum) - value(t.logits(r, target));
    for (std::int64_t c = 0; c < t.logits.cols; ++c)
      out.gradient(r, c) =
          target < 0 ? 0.0 : scale * (std::exp(value(t.logits(r, c)) - largest) / sum - (c == target ? 1 : 0));
  }
  return out;
}

}  // namespace

TEST_CASE_TEMPLATE("cross_entropy: losses and gradients follow the formulas, far-out logits included", S, double,
                   float) {
  for (const double spread : {1.0, 300.0})
    for (const auto& [rows, cols] : std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {5, 37}, {4, 40000}}) {
      on_every_path([&, r = rows, c = cols](const Cpu& cpu) {
        Tensors<S> t(r, c, spread);
        const auto before = t.logits;
        const Reference wanted = reference(t, 0.25);
        t.run(cpu, false, 0.25);
        CHECK(same_bits(t.logits, before));
        check_close("losses", t.losses, wanted.losses);
        t.run(cpu, true, 0.25);
        check_close("losses", t.losses, wanted.losses);
        check_close("gradient", t.logits, wanted.gradient);
      });
    }
}

TEST_CASE("cross_entropy: the gradient is a central difference of the loss") {
  Tensors<double> t(4, 9, 1);
  const Cpu cpu = device(best_isa());
  Tensors<double> gradient = t;
  gradient.run(cpu, true, 1);
  check_gradient("dlogits", t.logits, gradient.logits, [&] {
    t.run(cpu, false, 1);
    double sum = 0;
    for (const double loss : t.losses.data) sum += loss;
    return sum;
  });
}

TEST_CASE("cross_entropy: infinities and NaN in the logits are seen in the loss") {
  on_every_path([](const Cpu& cpu) {
    Tensors<float> t(1, 40, 1);
    t.logits(0, 7) = -std::numeric_limits<float>::infinity();  // a forbidden token
    const Reference wanted = reference(t, 1);
    t.run(cpu, true, 1);
    check_close("losses", t.losses, wanted.losses);
    CHECK(t.logits(0, 7) == 0.0f);
    Tensors<float> poisoned(1, 40, 1);
    poisoned.logits(0, 21) = std::numeric_limits<float>::quiet_NaN();
    poisoned.run(cpu, false, 1);
    CHECK(std::isnan(poisoned.losses(0, 0)));
  });
}

TEST_CASE("cross_entropy: a target outside the classes is an error that names it") {
  Tensors<float> t(2, 5, 1);
  t.targets[1] = 5;
  CHECK_THROWS_WITH_AS(t.run(device(best_isa()), true, 1),
                       doctest::Contains("target 5 of row 1 is outside the 5 classes"), Error);
}

TEST_CASE("cross_entropy: the same bits for any number of threads") {
  check_threads_agree([](const Cpu& cpu) {
    Tensors<float> t(70, 1001, 3);
    t.run(cpu, true, 0.5);
    return t.logits;
  });
}
