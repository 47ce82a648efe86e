#include <hone/cpu/optimizer.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

namespace {

// torch.optim.AdamW's single-tensor step, one scalar in double.
struct ScalarAdamW {
  double w, m = 0, v = 0;
  void step(const AdamWScalars& s, double gradient) {
    const double g = gradient * s.gradient_scale;
    w *= 1 - s.learning_rate * s.weight_decay;
    m = m + (1 - s.beta1) * (g - m);
    v = v * s.beta2 + (1 - s.beta2) * g * g;
    const double t = static_cast<double>(s.step);
    const double denominator = std::sqrt(v) / std::sqrt(1 - std::pow(s.beta2, t)) + s.epsilon;
    w -= s.learning_rate / (1 - std::pow(s.beta1, t)) * m / denominator;
  }
};

// torch.optim.SGD's, without dampening.
struct ScalarSgd {
  double w, buffer = 0;
  void step(const SgdScalars& s, double gradient) {
    const double g = gradient * s.gradient_scale + s.weight_decay * w;
    buffer = s.momentum * buffer + g;
    const double direction = s.momentum == 0 ? g : s.nesterov ? g + s.momentum * buffer : buffer;
    w -= s.learning_rate * direction;
  }
};

template <class T>
View<T, 1> none() {
  return absent<T, 1>();
}

}  // namespace

TEST_CASE_TEMPLATE("adamw: twenty steps follow the scalar formulas", T, double, float) {
  on_every_path([](const Cpu& cpu) {
    const std::int64_t n = 1003;
    auto w = random_matrix<T>(1, n, 1);
    Matrix<T> m(1, n), v(1, n);
    std::fill(m.data.begin(), m.data.end(), T{0});
    std::fill(v.data.begin(), v.data.end(), T{0});
    std::vector<ScalarAdamW> wanted;
    for (std::int64_t i = 0; i < n; ++i) wanted.push_back({.w = value(w(0, i))});
    AdamWScalars scalars{.learning_rate = 1e-2, .weight_decay = 0.1, .gradient_scale = 0.5};
    for (scalars.step = 1; scalars.step <= 20; ++scalars.step) {
      auto g = random_matrix<T>(1, n, static_cast<std::uint64_t>(100 + scalars.step));
      g(0, 3) = T{0};
      run_kernel<kernel::AdamWStep>(cpu, scalars, w.row(), none<float>(), View<const T, 1>(g.row()), m.row(), v.row());
      for (std::int64_t i = 0; i < n; ++i) wanted[static_cast<std::size_t>(i)].step(scalars, value(g(0, i)));
    }
    Matrix<double> w_wanted(1, n);
    for (std::int64_t i = 0; i < n; ++i) w_wanted(0, i) = wanted[static_cast<std::size_t>(i)].w;
    check_close("w", w, w_wanted, std::is_same_v<T, double> ? 1e-13 : 2e-6);
  });
}

TEST_CASE("adamw: a master copy holds what bf16 cannot, and the parameter is its rounding") {
  on_every_path([](const Cpu& cpu) {
    const std::int64_t n = 77;
    auto w = random_matrix<bf16>(1, n, 1);
    Matrix<float> master(1, n), m(1, n), v(1, n), plain(1, n), plain_m(1, n), plain_v(1, n);
    for (std::int64_t i = 0; i < n; ++i) {
      master(0, i) = plain(0, i) = w(0, i);
      m(0, i) = v(0, i) = plain_m(0, i) = plain_v(0, i) = 0;
    }
    auto g = random_matrix<float>(1, n, 2);
    for (std::int64_t step = 1; step <= 5; ++step) {
      const AdamWScalars scalars{.learning_rate = 1e-4, .step = step, .stochastic_rounding = true};
      run_kernel<kernel::AdamWStep>(cpu, scalars, w.row(), master.row(), View<const float, 1>(g.row()), m.row(),
                                    v.row());
      run_kernel<kernel::AdamWStep>(cpu, scalars, plain.row(), none<float>(), View<const float, 1>(g.row()),
                                    plain_m.row(), plain_v.row());
    }
    CHECK(same_bits(master, plain));
    for (std::int64_t i = 0; i < n; ++i) CHECK(w(0, i).bits == bf16(master(0, i)).bits);
  });
}

TEST_CASE("adamw: bf16 gradients and bf16 parameters without a master copy") {
  on_every_path([](const Cpu& cpu) {
    auto w = random_matrix<bf16>(1, 50, 1), g = random_matrix<bf16>(1, 50, 2);
    const auto before = w;
    Matrix<float> m(1, 50), v(1, 50);
    std::fill(m.data.begin(), m.data.end(), 0.0f);
    std::fill(v.data.begin(), v.data.end(), 0.0f);
    const AdamWScalars scalars{.learning_rate = 0.1};
    run_kernel<kernel::AdamWStep>(cpu, scalars, w.row(), none<float>(), View<const bf16, 1>(g.row()), m.row(), v.row());
    Matrix<double> wanted(1, 50);
    for (std::int64_t i = 0; i < 50; ++i) {
      ScalarAdamW scalar{.w = value(before(0, i))};
      scalar.step(scalars, value(g(0, i)));
      wanted(0, i) = scalar.w;
    }
    check_close("w", w, wanted);
  });
}

TEST_CASE("stochastic rounding is unbiased, keeps what is exact, and takes only neighbours") {
  const float value = 1.0f + 0x1p-7f * 0.3f;  // three tenths of the way from 1 to the next bf16
  double sum = 0;
  const int count = 100000;
  for (int i = 0; i < count; ++i) {
    const bf16 rounded = round_stochastically(value, philox_word(1, 2, static_cast<std::uint64_t>(i)));
    REQUIRE((rounded == 1.0f || rounded == 1.0f + 0x1p-7f));
    sum += static_cast<double>(static_cast<float>(rounded));
  }
  CHECK(std::abs(sum / count - static_cast<double>(value)) < 4 * 0x1p-7 * std::sqrt(0.21 / count));
  for (const std::uint32_t word : {0u, 0xffffffffu}) {
    CHECK(round_stochastically(-1.5f, word) == -1.5f);
    CHECK(round_stochastically(std::numeric_limits<float>::infinity(), word) == std::numeric_limits<float>::infinity());
    CHECK(std::isnan(static_cast<float>(round_stochastically(std::numeric_limits<float>::quiet_NaN(), word))));
  }
}

TEST_CASE("sgd: updates too small for bf16 arrive on average when rounded stochastically, never when not") {
  on_every_path([](const Cpu& cpu) {
    const std::int64_t n = 20000;
    for (const bool stochastic : {false, true}) {
      Matrix<bf16> w(1, n);
      Matrix<float> g(1, n);
      for (std::int64_t i = 0; i < n; ++i) w(0, i) = bf16(1.0f), g(0, i) = -1;
      SgdScalars scalars{.learning_rate = 1e-3, .stochastic_rounding = stochastic, .seed = 4};
      for (scalars.offset = 0; scalars.offset < 10; ++scalars.offset)
        run_kernel<kernel::SgdStep>(cpu, scalars, w.row(), none<float>(), View<const float, 1>(g.row()), none<float>());
      double mean = 0;
      for (const bf16 x : w.data) mean += value(x) / static_cast<double>(n);
      if (stochastic)
        CHECK(std::abs(mean - 1.01) < 1e-3);
      else
        CHECK(mean == doctest::Approx(1.0).epsilon(1e-12));
    }
  });
}

TEST_CASE_TEMPLATE("sgd: momentum, Nesterov and decay follow the scalar formulas", T, double, float) {
  for (const SgdScalars& scalars :
       {SgdScalars{.learning_rate = 0.1}, SgdScalars{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01},
        SgdScalars{.learning_rate = 0.1, .momentum = 0.8, .nesterov = true, .gradient_scale = 2}}) {
    on_every_path([&](const Cpu& cpu) {
      auto w = random_matrix<T>(1, 37, 1);
      Matrix<T> buffer(1, 37);
      std::fill(buffer.data.begin(), buffer.data.end(), T{0});
      std::vector<ScalarSgd> wanted;
      for (std::int64_t i = 0; i < 37; ++i) wanted.push_back({.w = value(w(0, i))});
      for (std::uint64_t step = 0; step < 5; ++step) {
        auto g = random_matrix<T>(1, 37, 50 + step);
        run_kernel<kernel::SgdStep>(cpu, scalars, w.row(), none<float>(), View<const T, 1>(g.row()),
                                    scalars.momentum == 0 ? none<T>() : buffer.row());
        for (std::int64_t i = 0; i < 37; ++i) wanted[static_cast<std::size_t>(i)].step(scalars, value(g(0, i)));
      }
      Matrix<double> w_wanted(1, 37);
      for (std::int64_t i = 0; i < 37; ++i) w_wanted(0, i) = wanted[static_cast<std::size_t>(i)].w;
      check_close("w", w, w_wanted, std::is_same_v<T, double> ? 1e-13 : 5e-6);
    });
  }
}

TEST_CASE_TEMPLATE("sum_of_squares: fixed blocks, summed in double", G, double, float, bf16) {
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{65535}, std::int64_t{65536}, std::int64_t{150001}}) {
    auto x = random_matrix<G>(1, n, 1);
    const std::int64_t blocks = sum_of_squares_blocks(n);
    CHECK(blocks == (n + 65535) / 65536);
    Matrix<double> wanted(1, blocks);
    std::fill(wanted.data.begin(), wanted.data.end(), 0.0);
    for (std::int64_t i = 0; i < n; ++i) wanted(0, i / 65536) += value(x(0, i)) * value(x(0, i));
    check_threads_agree([&](const Cpu& cpu) {
      Matrix<double> partials(1, blocks);
      run_kernel<kernel::SumOfSquares>(cpu, View<const G, 1>(x.row()), partials.row());
      check_close("partials", partials, wanted, 1e-10);
      return partials;
    });
  }
}

TEST_CASE("optimizers: the same bits for any number of threads") {
  check_threads_agree([](const Cpu& cpu) {
    auto w = random_matrix<bf16>(1, 50000, 1), g = random_matrix<bf16>(1, 50000, 2);
    auto m = random_matrix<float>(1, 50000, 3), v = random_matrix<float>(1, 50000, 4);
    for (float& x : v.data) x *= x;
    run_kernel<kernel::AdamWStep>(cpu, AdamWScalars{.stochastic_rounding = true, .seed = 9, .offset = 1}, w.row(),
                                  none<float>(), View<const bf16, 1>(g.row()), m.row(), v.row());
    return w;
  });
}
