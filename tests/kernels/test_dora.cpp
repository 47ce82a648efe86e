#include "every_device.hpp"

#include <hone/cpu/dora.hpp>
#include <hone/kernels/dora.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Sizes {
  std::int64_t rows, cols, r;
};
constexpr Sizes every_size[] = {{1, 1, 1}, {3, 7, 2}, {5, 64, 4}, {9, 100, 3}, {40, 33, 5}};

template <class S>
auto in1(const S& tensor) {
  return tensor.template in<1>();
}

/// m / n, with a zero norm somewhere: such a row stays as it is.
double ratio(double magnitude, double norm) { return norm == 0 ? 1 : magnitude / norm; }

template <class D>
Tensor<float, D> norms_with_a_zero(std::int64_t count, const D& device) {
  auto values = random_values(count, 9, 0.5, 2);
  if (count > 2) values[1] = 0;
  return Tensor<float, D>::from(device, {count}, std::vector<float>(values.begin(), values.end()));
}

}  // namespace

TEST_CASE_TEMPLATE("dora: norms of W + s B A from their pieces", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    CAPTURE(s.cols);
    const auto w = random_tensor<T, D>({s.rows, s.cols}, 1, -1, 1, device);
    const auto b = random_tensor<float, D>({s.rows, s.r}, 2, -1, 1, device);
    const auto a = random_values(s.r * s.cols, 3, -1, 1);
    const auto in = doubles(w), bs = doubles(b);
    const auto at = [](std::int64_t row, std::int64_t col, std::int64_t cols) {
      return static_cast<std::size_t>(row * cols + col);
    };
    std::vector<double> squares, norms;
    std::vector<float> wa, baa;
    const double scale = 0.75;
    for (std::int64_t i = 0; i < s.rows; ++i) {
      double square = 0, whole = 0;
      std::vector<double> ba(static_cast<std::size_t>(s.cols));
      for (std::int64_t c = 0; c < s.cols; ++c) {
        for (std::int64_t k = 0; k < s.r; ++k)
          ba[static_cast<std::size_t>(c)] += bs[at(i, k, s.r)] * a[at(k, c, s.cols)];
        square += std::pow(in[at(i, c, s.cols)], 2);
        whole += std::pow(in[at(i, c, s.cols)] + scale * ba[static_cast<std::size_t>(c)], 2);
      }
      squares.push_back(square);
      norms.push_back(std::sqrt(whole));
      for (std::int64_t k = 0; k < s.r; ++k) {
        double of_w = 0, of_ba = 0;
        for (std::int64_t c = 0; c < s.cols; ++c) {
          of_w += in[at(i, c, s.cols)] * a[at(k, c, s.cols)];
          of_ba += ba[static_cast<std::size_t>(c)] * a[at(k, c, s.cols)];
        }
        wa.push_back(static_cast<float>(of_w));
        baa.push_back(static_cast<float>(of_ba));
      }
    }
    const auto wa_there = Tensor<float, D>::from(device, {s.rows, s.r}, wa);
    const auto baa_there = Tensor<float, D>::from(device, {s.rows, s.r}, baa);
    const auto got = in_every_order<D>([&] {
      const auto out = Tensor<float, D>::empty(device, {s.rows}), n = Tensor<float, D>::empty(device, {s.rows});
      run_kernel<kernel::RowSquares>(device, w.template in<2>(), out.template view<1>());
      run_kernel<kernel::DoraNorms>(device, in1(out), b.template in<2>(), wa_there.template in<2>(),
                                    baa_there.template in<2>(), scale, n.template view<1>());
      return joined(out, n);
    });
    auto want = squares;
    want.insert(want.end(), norms.begin(), norms.end());
    CHECK(near<float>(got, want, "squares and norms"));
  }
}

TEST_CASE_TEMPLATE("dora: rescaling forward and backward, in place, in columns of a wider tensor", P, On<Cpu, float>,
                   On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size)
    for (const bool with_bias : {false, true}) {
      CAPTURE(s.cols);
      CAPTURE(with_bias);
      const auto magnitudes = random_tensor<float, D>({s.cols}, 1, 0.5, 2, device);
      const auto norms = norms_with_a_zero(s.cols, device);
      const auto bias = random_tensor<T, D>({with_bias ? s.cols : 0}, 2, -1, 1, device);
      const auto m = doubles(magnitudes), n = doubles(norms), b = doubles(bias);
      const auto wide = random_tensor<T, D>({s.rows, s.cols + 3}, 3, -1, 1, device);
      const auto before = doubles(wide);
      std::vector<double> want_y = before, want_u, want_dy, want_dm(static_cast<std::size_t>(s.cols));
      const auto dy = random_tensor<T, D>({s.rows, s.cols}, 4, -1, 1, device);
      const auto d = doubles(dy);
      for (std::size_t i = 0; i < d.size(); ++i) {
        const auto cols = static_cast<std::size_t>(s.cols), row = i / cols, col = i % cols;
        const double y = before[row * (cols + 3) + col + 2], u = y - (with_bias ? b[col] : 0);
        want_u.push_back(u);
        want_y[row * (cols + 3) + col + 2] = y + (ratio(m[col], n[col]) - 1) * u;
        want_dy.push_back(d[i] * ratio(m[col], n[col]));
      }
      const auto u = Tensor<T, D>::empty(device, {s.rows, s.cols});
      run_kernel<kernel::DoraForward>(device, in1(magnitudes), in1(norms), bias.template in<1>(),
                                      wide.columns(2, s.cols).template view<2>(), u.template view<2>());
      CHECK(near<T>(doubles(wide), want_y, "y"));
      CHECK(near<T>(doubles(u), want_u, "u"));
      const auto kept = doubles(u);
      for (std::size_t i = 0; i < d.size(); ++i) {
        const auto col = i % static_cast<std::size_t>(s.cols);
        if (n[col] != 0) want_dm[col] += d[i] * kept[i] / n[col];
      }
      const auto got = in_every_order<D>([&] {
        const auto dm = Tensor<float, D>::empty(device, {s.cols});
        run_kernel<kernel::DoraMagnitudes>(device, dy.template in<2>(), u.template in<2>(), in1(norms),
                                           dm.template view<1>(), false);
        return joined(dm);
      });
      CHECK(near<float>(got, want_dm, "dm"));
      const auto sum = random_tensor<float, D>({s.cols}, 5, -1, 1, device);
      auto want_sum = doubles(sum);
      for (std::size_t i = 0; i < want_sum.size(); ++i) want_sum[i] += want_dm[i];
      run_kernel<kernel::DoraMagnitudes>(device, dy.template in<2>(), u.template in<2>(), in1(norms),
                                         sum.template view<1>(), true);
      CHECK(near<float>(doubles(sum), want_sum, "dm accumulated"));
      run_kernel<kernel::DoraBackward>(device, in1(magnitudes), in1(norms), dy.template view<2>());
      CHECK(near<T>(doubles(dy), want_dy, "dy"));
    }
}

TEST_CASE_TEMPLATE("dora: rows take their magnitudes", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    const auto magnitudes = random_tensor<float, D>({s.rows}, 1, 0.5, 2, device);
    const auto norms = norms_with_a_zero(s.rows, device);
    const auto w = random_tensor<T, D>({s.rows, s.cols}, 3, -1, 1, device);
    auto want = doubles(w);
    const auto m = doubles(magnitudes), n = doubles(norms);
    for (std::size_t i = 0; i < want.size(); ++i) {
      const auto row = i / static_cast<std::size_t>(s.cols);
      want[i] *= ratio(m[row], n[row]);
    }
    run_kernel<kernel::DoraScaleRows>(device, in1(magnitudes), in1(norms), w.template view<2>());
    CHECK(near<T>(doubles(w), want, "w"));
  }
}
