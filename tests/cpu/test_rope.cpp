#include <hone/cpu/rope.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

namespace {

template <class S>
struct Table {
  std::vector<std::int32_t> positions;
  std::vector<float> inv_freq;
  Matrix<S> rotation;

  Table(std::vector<std::int32_t> at, std::int64_t head_dim, double theta = 10000)
      : positions(std::move(at)), rotation(static_cast<std::int64_t>(positions.size()), head_dim) {
    for (std::int64_t i = 0; i < head_dim / 2; ++i)
      inv_freq.push_back(
          static_cast<float>(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim))));
    const View<std::int32_t, 1> p{positions.data(), {rotation.rows}, 1};
    const View<float, 1> f{inv_freq.data(), {head_dim / 2}, 1};
    run_kernel<kernel::RopeTable>(device(best_isa()), p, f, rotation.view());
  }
};

}  // namespace

TEST_CASE_TEMPLATE("rope: the table holds cosines and sines of angles formed in float", S, float, double) {
  Table<S> table({0, 1, 7, 8191, 131071}, 10);
  for (std::size_t n = 0; n < 5; ++n)
    for (std::size_t i = 0; i < 5; ++i) {
      const float angle = static_cast<float>(table.positions[n]) * table.inv_freq[i];
      const auto row = static_cast<std::int64_t>(n), col = static_cast<std::int64_t>(i);
      CHECK(static_cast<double>(table.rotation(row, col)) ==
            doctest::Approx(std::cos(static_cast<double>(angle))).epsilon(1e-6));
      CHECK(static_cast<double>(table.rotation(row, col + 5)) ==
            doctest::Approx(std::sin(static_cast<double>(angle))).epsilon(1e-6));
    }
}

TEST_CASE_TEMPLATE("rope: every head is rotated in halves, and rotated back by the inverse", T, double, float, bf16) {
  using S = Accumulator<T>;
  for (const std::int64_t head_dim : {2, 6, 10, 64}) {
    on_every_path([&](const Cpu& cpu) {
      Table<S> table({5, 0, 100}, head_dim);
      const auto x = random_matrix<T>(3, 3 * head_dim, 1, 1, 2);
      Matrix<T> y = x;
      run_kernel<kernel::Rope>(cpu, y.view(), table.rotation.view(), false);
      Matrix<double> wanted(3, 3 * head_dim);
      const std::int64_t half = head_dim / 2;
      for (std::int64_t n = 0; n < 3; ++n)
        for (std::int64_t c = 0; c < 3 * head_dim; ++c) {
          const std::int64_t i = c % head_dim % half;
          const double cosine = static_cast<double>(table.rotation(n, i)),
                       sine = static_cast<double>(table.rotation(n, i + half));
          const bool upper = c % head_dim >= half;
          wanted(n, c) = value(x(n, c)) * cosine + (upper ? value(x(n, c - half)) : -value(x(n, c + half))) * sine;
        }
      check_close("rotated", y, wanted);
      run_kernel<kernel::Rope>(cpu, y.view(), table.rotation.view(), true);
      check_close("back", y, widened(x), 2 * tolerance<T>);
    });
  }
}

TEST_CASE("rope: the inverse is the gradient") {
  Table<double> table({3, 9}, 6);
  const Cpu cpu = device(best_isa());
  auto x = random_matrix<double>(2, 12, 1);
  const auto dy = random_matrix<double>(2, 12, 2);
  auto dx = dy;
  run_kernel<kernel::Rope>(cpu, dx.view(), table.rotation.view(), true);
  check_gradient("dx", x, dx, [&] {
    auto y = x;
    run_kernel<kernel::Rope>(cpu, y.view(), table.rotation.view(), false);
    return inner(y, dy);
  });
}

TEST_CASE("rope: the same bits for any number of threads") {
  std::vector<std::int32_t> positions(300);
  for (std::size_t n = 0; n < 300; ++n) positions[n] = static_cast<std::int32_t>(n);
  Table<float> table(positions, 32);
  check_threads_agree([&](const Cpu& cpu) {
    auto x = random_matrix<bf16>(300, 4 * 32, 1);
    run_kernel<kernel::Rope>(cpu, x.view(), table.rotation.view(), false);
    return x;
  });
}
