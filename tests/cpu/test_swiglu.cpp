#include <hone/cpu/swiglu.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

namespace {

template <class T>
struct Tensors {
  Matrix<T> gate_up, dy, y, dgate_up;
  Tensors(std::int64_t rows, std::int64_t cols)
      : gate_up(random_matrix<T>(rows, 2 * cols, 1, 3, 1)),
        dy(random_matrix<T>(rows, cols, 2, 1, 2)),
        y(rows, cols, 3),
        dgate_up(rows, 2 * cols, 4) {}
  void forward(const Cpu& cpu) { run_kernel<kernel::SwigluForward>(cpu, gate_up.view(), y.view()); }
  void backward(const Cpu& cpu, bool accumulate) {
    run_kernel<kernel::SwigluBackward>(cpu, dy.view(), gate_up.view(), dgate_up.view(), accumulate);
  }

  Matrix<double> y_wanted() const {
    Matrix<double> out(y.rows, y.cols);
    for (std::int64_t r = 0; r < y.rows; ++r)
      for (std::int64_t c = 0; c < y.cols; ++c) {
        const double g = value(gate_up(r, c)), u = value(gate_up(r, c + y.cols));
        out(r, c) = g / (1 + std::exp(-g)) * u;
      }
    return out;
  }
  Matrix<double> gradient_wanted(const Matrix<double>* before) const {
    Matrix<double> out(y.rows, 2 * y.cols);
    for (std::int64_t r = 0; r < y.rows; ++r)
      for (std::int64_t c = 0; c < y.cols; ++c) {
        const double g = value(gate_up(r, c)), u = value(gate_up(r, c + y.cols)), d = value(dy(r, c));
        const double s = 1 / (1 + std::exp(-g));
        out(r, c) = d * u * (s + g * s * (1 - s)) + (before != nullptr ? (*before)(r, c) : 0);
        out(r, c + y.cols) = d * g * s + (before != nullptr ? (*before)(r, c + y.cols) : 0);
      }
    return out;
  }
};

const std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{1, 1}, {3, 31}, {70, 300}, {2, 20000}};

}  // namespace

TEST_CASE_TEMPLATE("swiglu: forward and backward follow the formulas", T, double, float, bf16) {
  for (const auto& [rows, cols] : shapes) {
    on_every_path([r = rows, c = cols](const Cpu& cpu) {
      Tensors<T> t(r, c);
      t.forward(cpu);
      check_close("y", t.y, t.y_wanted());
      t.backward(cpu, false);
      check_close("dgate_up", t.dgate_up, t.gradient_wanted(nullptr));
      t.dgate_up = random_matrix<T>(r, 2 * c, 9);
      const auto before = widened(t.dgate_up);
      t.backward(cpu, true);
      check_close("dgate_up", t.dgate_up, t.gradient_wanted(&before));
    });
  }
}

TEST_CASE("swiglu: far out, the gate is 0 or the identity, and nothing is NaN") {
  on_every_path([](const Cpu& cpu) {
    Tensors<float> t(1, 4);
    for (int c = 0; c < 8; ++c) t.gate_up(0, c) = 2;
    t.gate_up(0, 0) = -1000;
    t.gate_up(0, 1) = 1000;
    t.gate_up(0, 2) = -90;
    t.gate_up(0, 3) = 90;
    t.forward(cpu);
    t.backward(cpu, false);
    check_close("y", t.y, t.y_wanted());
    for (int c = 0; c < 8; ++c) CHECK(std::isfinite(t.dgate_up(0, c)));
    CHECK(t.y(0, 1) == 2000);
    CHECK(t.dgate_up(0, 1) == t.dy(0, 1) * 2);
  });
}

TEST_CASE("swiglu: gradients are central differences") {
  Tensors<double> t(3, 5);
  const Cpu cpu = device(best_isa());
  t.backward(cpu, false);
  check_gradient("dgate_up", t.gate_up, t.dgate_up, [&] {
    t.forward(cpu);
    return inner(t.y, t.dy);
  });
}

TEST_CASE("swiglu: the same bits for any number of threads") {
  check_threads_agree([](const Cpu& cpu) {
    Tensors<bf16> t(200, 301);
    t.backward(cpu, false);
    return t.dgate_up;
  });
}
