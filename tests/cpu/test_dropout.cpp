#include <hone/cpu/dropout.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

TEST_CASE_TEMPLATE("dropout: keeps what Philox says, scaled, whatever the row's alignment", T, double, float, bf16) {
  for (const std::int64_t cols : {1, 3, 64, 131}) {
    on_every_path([&](const Cpu& cpu) {
      auto x = random_matrix<T>(9, cols, 1, 1, 1);
      Matrix<T> y(9, cols, 2);
      run_kernel<kernel::Dropout>(cpu, x.view(), 0.3, 11u, 5u, y.view(), false);
      Matrix<double> wanted(9, cols), twice(9, cols);
      for (std::int64_t r = 0; r < 9; ++r)
        for (std::int64_t c = 0; c < cols; ++c) {
          const double word = philox_word(11, 5, static_cast<std::uint64_t>(r * cols + c));
          wanted(r, c) = word >= 0.3 * 0x1p32 ? value(x(r, c)) / 0.7 : 0.0;
          twice(r, c) = 2 * wanted(r, c);
        }
      check_close("y", y, wanted);
      run_kernel<kernel::Dropout>(cpu, x.view(), 0.3, 11u, 5u, y.view(), true);
      check_close("y + y", y, twice);
    });
  }
}

TEST_CASE("dropout: keeps a share of 1 - p; the backward pass repeats the mask; another offset is another mask") {
  const Cpu cpu = device(best_isa());
  const std::int64_t rows = 300, cols = 333;
  Matrix<float> x(rows, cols), y(rows, cols), dx(rows, cols), other(rows, cols);
  for (float& element : x.data) element = 1;
  run_kernel<kernel::Dropout>(cpu, x.view(), 0.1, 1u, 7u, y.view(), false);
  run_kernel<kernel::Dropout>(cpu, x.view(), 0.1, 1u, 7u, dx.view(), false);
  run_kernel<kernel::Dropout>(cpu, x.view(), 0.1, 1u, 8u, other.view(), false);
  CHECK(same_bits(y, dx));
  double kept = 0, both = 0;
  for (std::size_t i = 0; i < y.data.size(); ++i) {
    kept += y.data[i] != 0 ? 1 : 0;
    both += y.data[i] != 0 && other.data[i] != 0 ? 1 : 0;
  }
  const double n = static_cast<double>(rows * cols);
  CHECK(std::abs(kept / n - 0.9) < 4 * std::sqrt(0.09 / n));
  CHECK(std::abs(both / n - 0.81) < 4 * std::sqrt(0.81 * 0.19 / n));
}

TEST_CASE("dropout: p = 0 is the identity, p = 1 is zero, anything outside is an error") {
  const Cpu cpu = device(best_isa());
  auto x = random_matrix<float>(3, 20, 1);
  Matrix<float> y(3, 20);
  run_kernel<kernel::Dropout>(cpu, x.view(), 0.0, 1u, 1u, y.view(), false);
  CHECK(same_bits(x, y));
  run_kernel<kernel::Dropout>(cpu, x.view(), 1.0, 1u, 1u, y.view(), false);
  for (const float element : y.data) CHECK(element == 0);
  for (const double p : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(run_kernel<kernel::Dropout>(cpu, x.view(), p, 1u, 1u, y.view(), false), Error);
}

TEST_CASE("dropout: the same bits for any number of threads, and on every path") {
  std::vector<Matrix<float>> all;
  for (const Isa isa : isa_paths())
    for (const int threads : {1, 2, 3}) {
      auto x = random_matrix<float>(500, 77, 1);
      Matrix<float> y(500, 77);
      run_kernel<kernel::Dropout>(device(isa, threads), x.view(), 0.5, 3u, 4u, y.view(), false);
      all.push_back(y);
    }
  for (const auto& y : all) CHECK(same_bits(y, all.front()));
}
