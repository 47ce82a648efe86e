#include <hone/cpu/qk_norm_rope.hpp>

#include "cpu/kernel_test.hpp"

#include <array>

using namespace hone;
using namespace hone::test;

namespace {

constexpr double eps = 1e-6;

// The fused kernels against the two they fuse, run in double on the same numbers.
template <class T>
struct Tensors {
  using S = Accumulator<T>;
  std::int64_t rows, heads, head_dim;
  Matrix<T> x, weight, dy, y, dx;
  Matrix<S> rotation, rstd;

  Tensors(std::int64_t row_count, std::int64_t head_count, std::int64_t dim)
      : rows(row_count),
        heads(head_count),
        head_dim(dim),
        x(random_matrix<T>(rows, heads * dim, 1, 2, 3)),
        weight(random_matrix<T>(1, dim, 2)),
        dy(random_matrix<T>(rows, heads * dim, 3, 1, 1)),
        y(rows, heads * dim, 2),
        dx(rows, heads * dim, 5),
        rotation(rows, dim),
        rstd(rows, heads) {
    for (std::int64_t n = 0; n < rows; ++n)
      for (std::int64_t i = 0; i < dim / 2; ++i) {
        const float angle = static_cast<float>(n + 1) / static_cast<float>(i + 1);
        rotation(n, i) = static_cast<S>(std::cos(angle));
        rotation(n, i + dim / 2) = static_cast<S>(std::sin(angle));
      }
  }

  void forward(const Cpu& cpu) {
    run_kernel<kernel::QkNormRopeForward>(cpu, x.view(), weight.row(), eps, rotation.view(), y.view(), rstd.view());
  }
  template <class G>
  void backward(const Cpu& cpu, bool accumulate, Matrix<G>& dweight, bool accumulate_weight) {
    Workspace workspace(qk_norm_rope_workspace_bytes(cpu.target(), rows, head_dim));
    run_kernel<kernel::QkNormRopeBackward>(cpu, dy.view(), x.view(), weight.row(), rstd.view(), rotation.view(),
                                           dx.view(), accumulate, dweight.row(), accumulate_weight, workspace.view());
  }
  /// A (rows, heads * dim) matrix of packed rows as (rows * heads, dim).
  View<double, 2> by_head(Matrix<double>& m) const { return {m.data.data(), {rows * heads, head_dim}, head_dim}; }
};

struct Reference {
  Matrix<double> y, dx, dweight;
};

template <class T>
Reference composed(const Tensors<T>& t) {
  const Cpu cpu = device(Isa::portable, 1);
  Matrix<double> x = widened(t.x), weight = widened(t.weight), dy = widened(t.dy), rotation = widened(t.rotation);
  Reference out{Matrix<double>(t.rows, x.cols), Matrix<double>(t.rows, x.cols), Matrix<double>(1, t.head_dim)};
  Matrix<double> rstd(1, t.rows * t.heads);
  run_kernel<kernel::RmsNormForward>(cpu, t.by_head(x), weight.row(), eps, t.by_head(out.y), rstd.row());
  run_kernel<kernel::Rope>(cpu, out.y.view(), rotation.view(), false);
  run_kernel<kernel::Rope>(cpu, dy.view(), rotation.view(), true);
  Workspace workspace(rms_norm_workspace_bytes(cpu.target(), t.rows * t.heads, t.head_dim));
  run_kernel<kernel::RmsNormBackward>(cpu, t.by_head(dy), t.by_head(x), weight.row(), rstd.row(), t.by_head(out.dx),
                                      false, out.dweight.row(), false, workspace.view());
  return out;
}

}  // namespace

TEST_CASE_TEMPLATE("qk_norm_rope: equals norm, then rope", T, double, float, bf16) {
  for (const auto& shape : std::vector<std::array<std::int64_t, 3>>{{1, 1, 2}, {40, 3, 10}, {17, 2, 128}}) {
    const std::int64_t dim = shape[2];
    CAPTURE(dim);
    on_every_path([&](const Cpu& cpu) {
      Tensors<T> t(shape[0], shape[1], dim);
      const Reference wanted = composed(t);
      t.forward(cpu);
      check_close("y", t.y, wanted.y);
      Matrix<T> dweight(1, dim);
      t.backward(cpu, false, dweight, false);
      check_close("dx", t.dx, wanted.dx, 4 * tolerance<T>);
      check_close("dweight", dweight, wanted.dweight, 20 * tolerance<T>);
    });
  }
}

TEST_CASE("qk_norm_rope: gradients add; absent ones are left alone") {
  on_every_path([](const Cpu& cpu) {
    Tensors<bf16> t(40, 3, 10);
    Reference wanted = composed(t);
    t.forward(cpu);
    auto dweight = random_matrix<float>(1, 10, 8);
    t.dx = random_matrix<bf16>(40, 30, 9);
    for (std::int64_t c = 0; c < 10; ++c) wanted.dweight(0, c) += value(dweight(0, c));
    for (std::int64_t r = 0; r < 40; ++r)
      for (std::int64_t c = 0; c < 30; ++c) wanted.dx(r, c) += value(t.dx(r, c));
    t.backward(cpu, true, dweight, true);
    check_close("dx", t.dx, wanted.dx, 4e-2);
    check_close("dweight", dweight, wanted.dweight, 1e-4);
    const auto dx = widened(t.dx);
    Workspace workspace(qk_norm_rope_workspace_bytes(cpu.target(), 40, 10));
    run_kernel<kernel::QkNormRopeBackward>(cpu, t.dy.view(), t.x.view(), t.weight.row(), t.rstd.view(),
                                           t.rotation.view(), absent<bf16, 2>(), false, dweight.row(), false,
                                           workspace.view());
    check_close("dx", t.dx, dx);
    run_kernel<kernel::QkNormRopeBackward>(cpu, t.dy.view(), t.x.view(), t.weight.row(), t.rstd.view(),
                                           t.rotation.view(), t.dx.view(), false, absent<float, 1>(), false,
                                           absent<std::byte, 1>());
    check_close("dx", t.dx, composed(t).dx, 4e-2);
  });
}

TEST_CASE("qk_norm_rope: gradients are central differences") {
  Tensors<double> t(3, 2, 6);
  const Cpu cpu = device(best_isa());
  t.forward(cpu);
  Matrix<double> dweight(1, 6);
  t.backward(cpu, false, dweight, false);
  const auto loss = [&] {
    t.forward(cpu);
    return inner(t.y, t.dy);
  };
  check_gradient("dx", t.x, t.dx, loss);
  check_gradient("dweight", t.weight, dweight, loss);
}

TEST_CASE("qk_norm_rope: the same bits for any number of threads; odd heads are refused") {
  check_threads_agree([](const Cpu& cpu) {
    Tensors<float> t(300, 3, 32);
    t.forward(cpu);
    Matrix<float> dweight(1, 32);
    t.backward(cpu, false, dweight, false);
    return dweight;
  });
  Tensors<float> odd(2, 2, 7);
  CHECK_THROWS_WITH_AS(odd.forward(device(best_isa())), doctest::Contains("head_dim is 7, wanted an even number"),
                       Error);
}
