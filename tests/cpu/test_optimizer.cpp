#include <hone/cpu/optimizer.hpp>

#include "cpu/kernel_test.hpp"
#include "support/step_numbers.hpp"

using namespace hone;
using namespace hone::test;

namespace {

// torch.optim.AdamW's single-tensor step, one scalar in double.
struct ScalarAdamW {
  double w, m = 0, v = 0;
  void step(const StepOf& s, double weight_decay, double gradient) {
    const double g = gradient * s.gradient_scale;
    w *= 1 - s.learning_rate * weight_decay;
    m = m + (1 - 0.9) * (g - m);
    v = v * 0.999 + (1 - 0.999) * g * g;
    const double t = static_cast<double>(s.step);
    const double denominator = std::sqrt(v) / std::sqrt(1 - std::pow(0.999, t)) + 1e-8;
    w -= s.learning_rate / (1 - std::pow(0.9, t)) * m / denominator;
  }
};

// torch.optim.SGD's, without dampening.
struct ScalarSgd {
  double w, buffer = 0;
  void step(const SgdScalars& s, const StepOf& of, double weight_decay, double gradient) {
    const double g = gradient * of.gradient_scale + weight_decay * w;
    buffer = s.momentum * buffer + g;
    const double direction = s.momentum == 0 ? g : s.nesterov ? g + s.momentum * buffer : buffer;
    w -= of.learning_rate * direction;
  }
};

/// One parameter; master copy and states are absent unless given.
template <class T, class G>
OptimizedView<T, G> parameter(Matrix<T>& weight, Matrix<G>& gradient, View<Accumulator<T>, 1> first = {},
                              View<Accumulator<T>, 1> second = {}) {
  return {.weight = weight.row(), .master = {}, .gradient = gradient.row(), .states = {first, second}};
}

template <class K, class Scalars, class T, class G>
void step(const Cpu& cpu, const Scalars& scalars, const StepOf& of, const OptimizedView<T, G>& one) {
  StepNumbers numbers = step_numbers(of);
  run_kernel<K>(cpu, scalars, View<const StepNumbers, 1>{&numbers, {1}, 1},
                std::span<const OptimizedView<T, G>>(&one, 1));
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
    for (StepOf of{.learning_rate = 1e-2, .step = 1, .gradient_scale = 0.5}; of.step <= 20; ++of.step) {
      auto g = random_matrix<T>(1, n, static_cast<std::uint64_t>(100 + of.step));
      g(0, 3) = T{0};
      auto one = parameter(w, g, m.row(), v.row());
      one.weight_decay = 0.1;
      step<kernel::AdamWStep>(cpu, AdamWScalars{}, of, one);
      for (std::int64_t i = 0; i < n; ++i) wanted[static_cast<std::size_t>(i)].step(of, 0.1, value(g(0, i)));
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
    for (StepOf of{.learning_rate = 1e-4}; of.step <= 5; ++of.step) {
      const AdamWScalars scalars{.stochastic_rounding = true};
      auto one = parameter(w, g, m.row(), v.row());
      one.master = master.row();
      step<kernel::AdamWStep>(cpu, scalars, of, one);
      step<kernel::AdamWStep>(cpu, scalars, of, parameter(plain, g, plain_m.row(), plain_v.row()));
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
    const StepOf of{.learning_rate = 0.1};
    step<kernel::AdamWStep>(cpu, AdamWScalars{}, of, parameter(w, g, m.row(), v.row()));
    Matrix<double> wanted(1, 50);
    for (std::int64_t i = 0; i < 50; ++i) {
      ScalarAdamW scalar{.w = value(before(0, i))};
      scalar.step(of, 0, value(g(0, i)));
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
      const SgdScalars scalars{.stochastic_rounding = stochastic, .seed = 4};
      for (StepOf of; of.step <= 10; ++of.step) step<kernel::SgdStep>(cpu, scalars, of, parameter(w, g));
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
       {SgdScalars{}, SgdScalars{.momentum = 0.9}, SgdScalars{.momentum = 0.8, .nesterov = true}}) {
    const StepOf of{.learning_rate = 0.1, .gradient_scale = scalars.nesterov ? 2.0 : 1.0};
    const double decay = scalars.nesterov ? 0 : 0.01;
    on_every_path([&](const Cpu& cpu) {
      auto w = random_matrix<T>(1, 37, 1);
      Matrix<T> buffer(1, 37);
      std::fill(buffer.data.begin(), buffer.data.end(), T{0});
      std::vector<ScalarSgd> wanted;
      for (std::int64_t i = 0; i < 37; ++i) wanted.push_back({.w = value(w(0, i))});
      for (std::uint64_t i = 0; i < 5; ++i) {
        auto g = random_matrix<T>(1, 37, 50 + i);
        auto one = parameter(w, g);
        if (scalars.momentum != 0) one.states[0] = buffer.row();
        one.weight_decay = decay;
        step<kernel::SgdStep>(cpu, scalars, of, one);
        for (std::int64_t k = 0; k < 37; ++k)
          wanted[static_cast<std::size_t>(k)].step(scalars, of, decay, value(g(0, k)));
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
      const OptimizedView<G, G> one{.weight = {}, .master = {}, .gradient = x.row(), .states = {}};
      run_kernel<kernel::SumOfSquares>(cpu, std::span<const OptimizedView<G, G>>(&one, 1), partials.row());
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
    auto one = parameter(w, g, m.row(), v.row());
    one.offset = 1;
    step<kernel::AdamWStep>(cpu, AdamWScalars{.stochastic_rounding = true, .seed = 9}, {}, one);
    return w;
  });
}
