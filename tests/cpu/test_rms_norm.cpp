#include <hone/cpu/rms_norm.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

namespace {

constexpr double eps = 1e-5;
const std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{1, 1}, {1, 37}, {5, 16}, {67, 129}, {700, 7}};

double inverse_rms(const Matrix<double>& x, std::int64_t row) {
  double squares = 0;
  for (std::int64_t c = 0; c < x.cols; ++c) squares += x(row, c) * x(row, c);
  return 1 / std::sqrt(squares / static_cast<double>(x.cols) + eps);
}

Matrix<double> forward_reference(const Matrix<double>& x, const Matrix<double>& weight) {
  Matrix<double> y(x.rows, x.cols);
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (std::int64_t c = 0; c < x.cols; ++c) y(r, c) = x(r, c) * inverse_rms(x, r) * weight(0, c);
  return y;
}

struct Gradients {
  Matrix<double> dx, dweight;
};

Gradients backward_reference(const Matrix<double>& dy, const Matrix<double>& x, const Matrix<double>& weight) {
  Gradients g{Matrix<double>(x.rows, x.cols), Matrix<double>(1, x.cols)};
  for (std::int64_t c = 0; c < x.cols; ++c) g.dweight(0, c) = 0;
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const double rstd = inverse_rms(x, r);
    double dot = 0;
    for (std::int64_t c = 0; c < x.cols; ++c) dot += dy(r, c) * weight(0, c) * x(r, c) * rstd;
    for (std::int64_t c = 0; c < x.cols; ++c) {
      const double normed = x(r, c) * rstd;
      g.dx(r, c) = rstd * (dy(r, c) * weight(0, c) - normed * dot / static_cast<double>(x.cols));
      g.dweight(0, c) += dy(r, c) * normed;
    }
  }
  return g;
}

template <class T>
struct Tensors {
  using S = Accumulator<T>;
  Matrix<T> x, weight, dy, y, dx;
  Matrix<S> rstd;
  Tensors(std::int64_t rows, std::int64_t cols)
      : x(random_matrix<T>(rows, cols, 1, 2, 3)),
        weight(random_matrix<T>(1, cols, 2)),
        dy(random_matrix<T>(rows, cols, 3, 1, 1)),
        y(rows, cols, 2),
        dx(rows, cols, 5),
        rstd(1, rows) {}

  void forward(const Cpu& cpu) {
    run_kernel<kernel::RmsNormForward>(cpu, x.view(), weight.row(), eps, y.view(), rstd.row());
  }
  template <class G>
  void backward(const Cpu& cpu, bool accumulate, Matrix<G>& dweight, bool accumulate_weight) {
    Workspace workspace(rms_norm_workspace_bytes(cpu.target(), x.rows, x.cols));
    run_kernel<kernel::RmsNormBackward>(cpu, dy.view(), x.view(), weight.row(), rstd.row(), dx.view(), accumulate,
                                        dweight.row(), accumulate_weight, workspace.view());
  }
};

}  // namespace

TEST_CASE_TEMPLATE("rms_norm: forward and backward follow the formulas", T, double, float, bf16) {
  for (const auto& shape : shapes) {
    const std::int64_t rows = shape.first, cols = shape.second;
    CAPTURE(rows);
    CAPTURE(cols);
    on_every_path([&](const Cpu& cpu) {
      Tensors<T> t(rows, cols);
      t.forward(cpu);
      check_close("y", t.y, forward_reference(widened(t.x), widened(t.weight)));
      Matrix<T> dweight(1, cols);
      t.backward(cpu, false, dweight, false);
      const Gradients wanted = backward_reference(widened(t.dy), widened(t.x), widened(t.weight));
      check_close("dx", t.dx, wanted.dx);
      check_close("dweight", dweight, wanted.dweight, 20 * tolerance<T>);
    });
  }
}

TEST_CASE_TEMPLATE("rms_norm: gradients add to what is there, in the weight's own type", T, float, bf16) {
  on_every_path([](const Cpu& cpu) {
    Tensors<T> t(67, 129);
    t.forward(cpu);
    Gradients wanted = backward_reference(widened(t.dy), widened(t.x), widened(t.weight));
    t.dx = random_matrix<T>(67, 129, 7);
    auto dweight = random_matrix<float>(1, 129, 8);
    for (std::int64_t r = 0; r < 67; ++r)
      for (std::int64_t c = 0; c < 129; ++c) wanted.dx(r, c) += value(t.dx(r, c));
    for (std::int64_t c = 0; c < 129; ++c) wanted.dweight(0, c) += value(dweight(0, c));
    t.backward(cpu, true, dweight, true);
    check_close("dx", t.dx, wanted.dx);
    check_close("dweight", dweight, wanted.dweight, 2e-4);
  });
}

TEST_CASE("rms_norm: absent outputs are left alone, and the weight's needs no workspace") {
  Tensors<float> t(5, 33);
  const Cpu cpu = device(best_isa());
  t.forward(cpu);
  const Gradients wanted = backward_reference(widened(t.dy), widened(t.x), widened(t.weight));
  run_kernel<kernel::RmsNormBackward>(cpu, t.dy.view(), t.x.view(), t.weight.row(), t.rstd.row(), t.dx.view(), false,
                                      absent<float, 1>(), false, absent<std::byte, 1>());
  check_close("dx", t.dx, wanted.dx);
  Matrix<float> dweight(1, 33);
  Workspace workspace(rms_norm_workspace_bytes(cpu.target(), 5, 33));
  run_kernel<kernel::RmsNormBackward>(cpu, t.dy.view(), t.x.view(), t.weight.row(), t.rstd.row(), absent<float, 2>(),
                                      false, dweight.row(), false, workspace.view());
  check_close("dweight", dweight, wanted.dweight);
  Matrix<float> y(5, 33);
  run_kernel<kernel::RmsNormForward>(cpu, t.x.view(), t.weight.row(), eps, y.view(), absent<float, 1>());
  check_close("y", y, forward_reference(widened(t.x), widened(t.weight)));
  Workspace small(8);
  CHECK_THROWS_WITH_AS(run_kernel<kernel::RmsNormBackward>(cpu, t.dy.view(), t.x.view(), t.weight.row(), t.rstd.row(),
                                                           t.dx.view(), false, dweight.row(), false, small.view()),
                       doctest::Contains("[rms_norm] workspace has 8 bytes"), Error);
}

TEST_CASE_TEMPLATE("rms_norm: the fused addition rounds the sum, then norms what it rounded", T, double, float, bf16) {
  on_every_path([](const Cpu& cpu) {
    const auto x = random_matrix<T>(9, 130, 1), delta = random_matrix<T>(9, 130, 2),
               weight = random_matrix<T>(1, 130, 3);
    Matrix<T> sum(9, 130), wanted_sum(9, 130), y(9, 130, 1), alone(9, 130, 1);
    Matrix<Accumulator<T>> rstd(1, 9), rstd_alone(1, 9);
    for (std::size_t i = 0; i < x.data.size(); ++i)
      wanted_sum.data[i] = static_cast<T>(value(x.data[i]) + value(delta.data[i]));
    auto [a, b, w] = std::tuple(x, delta, weight);
    run_kernel<kernel::AddRmsNormForward>(cpu, a.view(), b.view(), w.row(), eps, sum.view(), y.view(), rstd.row());
    CHECK(same_bits(sum, wanted_sum));
    run_kernel<kernel::RmsNormForward>(cpu, sum.view(), w.row(), eps, alone.view(), rstd_alone.row());
    CHECK(same_bits(y, alone));
    CHECK(same_bits(rstd, rstd_alone));
    run_kernel<kernel::AddRmsNormForward>(cpu, a.view(), b.view(), w.row(), eps, b.view(), y.view(), rstd.row());
    CHECK(same_bits(b, wanted_sum));
    CHECK(same_bits(y, alone));
  });
}

TEST_CASE("rms_norm: gradients are central differences") {
  Tensors<double> t(3, 7);
  const Cpu cpu = device(best_isa());
  t.forward(cpu);
  Matrix<double> dweight(1, 7);
  t.backward(cpu, false, dweight, false);
  const auto loss = [&] {
    t.forward(cpu);
    return inner(t.y, t.dy);
  };
  check_gradient("dx", t.x, t.dx, loss);
  check_gradient("dweight", t.weight, dweight, loss);
}

TEST_CASE("rms_norm: the same bits for any number of threads") {
  check_threads_agree([](const Cpu& cpu) {
    Tensors<float> t(1000, 129);
    t.forward(cpu);
    Matrix<float> dweight(1, 129);
    t.backward(cpu, false, dweight, false);
    return dweight;
  });
}
