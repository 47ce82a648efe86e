#include "every_device.hpp"
#include "support/step_numbers.hpp"

#include <hone/cpu/optimizer.hpp>
#include <hone/cpu/sum.hpp>
#include <hone/kernels/optimizer.cuh>
#include <hone/kernels/sum.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

/// What a test runs over: a device, and the types of weights and gradients.
template <class D, class W, class G>
struct Pair {
  using Device = D;
  using Weight = W;
  using Gradient = G;
};

/// A parameter as the kernels take it, with the same in double beside it. `shift` elements lie before each tensor's
/// first, so that vectors of four do not fit every parameter.
template <class T, class G, class D>
struct Item {
  using S = Accumulator<T>;
  Tensor<T, D> weight;
  Tensor<float, D> master;
  Tensor<G, D> gradient;
  Tensor<S, D> first, second;
  std::vector<double> w, g, m, v;

  Item(const D& device, std::int64_t count, std::int64_t shift, bool with_master, std::uint64_t seed) {
    const auto make = [&]<class E>(std::uint64_t number, double low) {
      return random_tensor<E, D>({count + shift}, seed + number, low, 1, device).rows(shift, count);
    };
    weight = make.template operator()<T>(0, -1);
    gradient = make.template operator()<G>(1, -1);
    first = make.template operator()<S>(2, -1);
    second = make.template operator()<S>(3, 0);
    if (with_master) master = make.template operator()<float>(4, -1);
    w = doubles(with_master ? Tensor<float, D>(master) : to_float(device, weight));
    g = doubles(gradient);
    m = doubles(first);
    v = doubles(second);
  }

  OptimizedView<T, G> view(int states, double weight_decay, std::uint64_t offset) const {
    OptimizedView<T, G> out{.weight = weight.flat(), .master = {}, .gradient = gradient.flat(), .states = {}};
    if (master.defined()) out.master = master.flat();
    if (states > 0) out.states[0] = first.flat();
    if (states > 1) out.states[1] = second.flat();
    out.weight_decay = weight_decay;
    out.offset = offset;
    return out;
  }

 private:
  static Tensor<float, D> to_float(const D& device, const Tensor<T, D>& x) {
    std::vector<float> values;
    for (const T value : x.to_vector()) values.push_back(static_cast<float>(value));
    return Tensor<float, D>::from(device, x.shape(), values);
  }
};

// One element, odd counts, an empty parameter, more than one block's share.
constexpr std::int64_t every_count[] = {1, 7, 0, 64, 8201, 30};

template <class T, class G, class D>
std::vector<Item<T, G, D>> make_items(const D& device, bool with_master) {
  std::vector<Item<T, G, D>> out;
  for (const std::int64_t count : every_count)
    out.emplace_back(device, count, count == 30 ? 1 : 0, with_master && count != 7, 10 * out.size());
  return out;
}

template <class T, class G, class D>
std::vector<OptimizedView<T, G>> views_of(const std::vector<Item<T, G, D>>& items, int states) {
  std::vector<OptimizedView<T, G>> out;
  for (std::size_t i = 0; i < items.size(); ++i) out.push_back(items[i].view(states, i % 2 == 0 ? 0.1 : 0.0, 1000 * i));
  return out;
}

/// Every weight, master and state, one behind the other.
template <class T, class G, class D>
std::vector<double> all_of(const std::vector<Item<T, G, D>>& items) {
  std::vector<double> out;
  for (const auto& item : items) {
    const auto values = joined(item.weight, item.first, item.second);
    out.insert(out.end(), values.begin(), values.end());
    if (!item.master.defined()) continue;
    const auto master = doubles(item.master);
    out.insert(out.end(), master.begin(), master.end());
  }
  return out;
}

template <class K, class D, class Scalars, class T, class G>
void step(const D& device, const Scalars& scalars, const StepNumbers& numbers,
          const std::vector<OptimizedView<T, G>>& views) {
  const auto at = Tensor<StepNumbers, D>::from(device, {1}, std::array{numbers});
  run_kernel<K>(device, scalars, at.template in<1>(), std::span<const OptimizedView<T, G>>(views));
}

void adamw(const StepOf& s, double decay, double gradient, double& w, double& m, double& v) {
  const double g = gradient * s.gradient_scale, t = static_cast<double>(s.step);
  w *= 1 - s.learning_rate * decay;
  m += (1 - 0.9) * (g - m);
  v = v * 0.999 + (1 - 0.999) * g * g;
  w -= s.learning_rate / (1 - std::pow(0.9, t)) * m / (std::sqrt(v) / std::sqrt(1 - std::pow(0.999, t)) + 1e-8);
}

void sgd(const SgdScalars& s, const StepOf& of, double decay, double gradient, double& w, double& buffer) {
  double g = gradient * of.gradient_scale + decay * w;
  if (s.momentum != 0) {
    buffer = s.momentum * buffer + g;
    g = s.nesterov ? g + s.momentum * buffer : buffer;
  }
  w -= of.learning_rate * g;
}

}  // namespace

TEST_CASE_TEMPLATE("adamw step of several parameters", P, Pair<Cpu, float, float>, Pair<Cpu, bf16, float>,
                   Pair<Emu, float, float>, Pair<Emu, bf16, float>, Pair<Emu, bf16, bf16>, Pair<Emu, double, double>) {
  using D = typename P::Device;
  using T = typename P::Weight;
  using G = typename P::Gradient;
  const D device = poisoned_device<D>();
  const StepOf of{.learning_rate = 1e-2, .step = 3, .gradient_scale = 0.5};
  for (const bool with_master : {false, std::is_same_v<T, bf16>}) {
    const auto got = in_every_order<D>([&] {
      const auto items = make_items<T, G>(device, with_master);
      step<kernel::AdamWStep>(device, AdamWScalars{}, step_numbers(of), views_of(items, 2));
      return all_of(items);
    });
    auto items = make_items<T, G>(device, with_master);
    std::int64_t at = 0;
    for (std::size_t k = 0; k < items.size(); ++k) {
      auto& item = items[k];
      const auto count = static_cast<std::int64_t>(item.w.size());
      CAPTURE(count);
      for (std::size_t i = 0; i < item.w.size(); ++i)
        adamw(of, k % 2 == 0 ? 0.1 : 0.0, item.g[i], item.w[i], item.m[i], item.v[i]);
      CHECK(near<T>(part(got, at, count), item.w, "weight"));
      CHECK(near<float>(part(got, at + count, count), item.m, "m"));
      CHECK(near<float>(part(got, at + 2 * count, count), item.v, "v"));
      at += 3 * count;
      if (!item.master.defined()) continue;
      CHECK(near<float>(part(got, at, count), item.w, "master"));
      for (std::int64_t i = 0; i < count; ++i)  // the weight is the rounding of its master copy
        CHECK(static_cast<double>(T(static_cast<float>(got[static_cast<std::size_t>(at + i)]))) ==
              got[static_cast<std::size_t>(at - 3 * count + i)]);
      at += count;
    }
    CHECK(at == static_cast<std::int64_t>(got.size()));
  }
}

TEST_CASE_TEMPLATE("sgd step of several parameters", P, Pair<Cpu, float, float>, Pair<Emu, float, float>,
                   Pair<Emu, bf16, bf16>) {
  using D = typename P::Device;
  using T = typename P::Weight;
  using G = typename P::Gradient;
  const D device = poisoned_device<D>();
  for (const SgdScalars& scalars :
       {SgdScalars{}, SgdScalars{.momentum = 0.9}, SgdScalars{.momentum = 0.8, .nesterov = true}}) {
    const StepOf of{.learning_rate = 0.1, .gradient_scale = scalars.nesterov ? 2.0 : 1.0};
    const auto got = in_every_order<D>([&] {
      const auto items = make_items<T, G>(device, false);
      step<kernel::SgdStep>(device, scalars, step_numbers(of), views_of(items, scalars.momentum != 0 ? 1 : 0));
      return all_of(items);
    });
    auto items = make_items<T, G>(device, false);
    std::int64_t at = 0;
    for (std::size_t k = 0; k < items.size(); ++k) {
      auto& item = items[k];
      const auto count = static_cast<std::int64_t>(item.w.size());
      for (std::size_t i = 0; i < item.w.size(); ++i)
        sgd(scalars, of, k % 2 == 0 ? 0.1 : 0.0, item.g[i], item.w[i], item.m[i]);
      CHECK(near<T>(part(got, at, count), item.w, "weight"));
      CHECK(near<float>(part(got, at + count, count), item.m, "momentum"));
      at += 3 * count;
    }
  }
}

TEST_CASE_TEMPLATE("stochastic rounding draws the words of its elements", D, Cpu, Emu) {
  const D device = poisoned_device<D>();
  for (const std::int64_t shift : {0, 1}) {  // by whole vectors, one by one
    const std::int64_t count = 4098;
    const auto weight = random_tensor<bf16, D>({count + shift}, 1, -1, 1, device).rows(shift, count);
    const auto gradient = random_tensor<float, D>({count}, 2, -1, 1, device);
    const auto before = weight.to_vector();
    std::vector<OptimizedView<bf16, float>> views{
        {.weight = weight.flat(), .master = {}, .gradient = gradient.flat(), .states = {}, .offset = 77}};
    const SgdScalars scalars{.stochastic_rounding = true, .seed = 2};
    step<kernel::SgdStep>(device, scalars, step_numbers({.learning_rate = 0x1p-10, .step = 3}), views);
    const auto after = weight.to_vector();
    const auto g = gradient.to_vector();
    std::int64_t up = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      const float exact = static_cast<float>(before[i]) - 0x1p-10f * g[i];
      CHECK(after[i].bits == stochastic_bf16_bits(exact, philox_word(5, 77, i)));
      up += static_cast<float>(after[i]) > exact ? 1 : 0;
    }
    CHECK(up > count / 3);
    CHECK(up < 2 * count / 3);
  }
}

TEST_CASE_TEMPLATE("sums of squares of several gradients, and their sum", P, Pair<Cpu, float, float>,
                   Pair<Emu, float, float>, Pair<Emu, bf16, bf16>, Pair<Emu, double, double>) {
  using D = typename P::Device;
  using T = typename P::Weight;
  using G = typename P::Gradient;
  const D device = poisoned_device<D>();
  std::vector<Tensor<G, D>> gradients;
  std::vector<OptimizedView<T, G>> views;
  std::vector<double> want;
  for (const std::int64_t count : {5, 65536, 0, 70001}) {
    gradients.push_back(random_tensor<G, D>({count + 1}, static_cast<std::uint64_t>(count), -1, 1, device)
                            .rows(count == 5 ? 1 : 0, count));
    views.push_back({.weight = {}, .master = {}, .gradient = gradients.back().flat(), .states = {}});
    const auto values = doubles(gradients.back());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i % sum_of_squares_block == 0) want.push_back(0);
      want.back() += values[i] * values[i];
    }
  }
  double total = 0;
  for (const double value : want) total += value;
  want.push_back(total);
  const auto got = in_every_order<D>([&] {
    const auto sums = Tensor<double, D>::empty(device, {5});
    run_kernel<kernel::SumOfSquares>(device, std::span<const OptimizedView<T, G>>(views),
                                     sums.rows(0, 4).template view<1>());
    run_kernel<kernel::SumInOrder>(device, View<const double, 1>(sums.rows(0, 4).template view<1>()),
                                   sums.rows(4, 1).template view<1>());
    return joined(sums);
  });
  CHECK(close(got, want, {5}, 0, 1e-12));
}

TEST_CASE_TEMPLATE("a step begins on the device: norm, clipping, count, and whether it is skipped", D, Cpu, Emu) {
  const D device = poisoned_device<D>();
  const auto numbers = Tensor<StepNumbers, D>::from(device, {1}, std::array{StepNumbers{}});
  const auto begin = [&](double learning_rate, std::int64_t tokens, const std::vector<double>& partials) {
    StepNumbers told = numbers.item();
    told.input = {learning_rate, tokens};
    numbers.copy_from(std::array{told});
    const auto sums = Tensor<double, D>::from(device, {static_cast<std::int64_t>(partials.size())},
                                              std::span<const double>(partials));
    run_kernel<kernel::BeginStep>(device, StepRule{0.5, 0.75, 2.0}, sums.template in<1>(), numbers.template view<1>());
    return numbers.item();
  };
  std::vector<double> many(600, 0.0);
  many[0] = 9, many[300] = 3, many[599] = 4;
  const StepNumbers first = begin(0.25, 8, many);  // norm 4 / 8
  CHECK(first.step == 1);
  CHECK(first.skipped == 0);
  CHECK(first.grad_norm == 0.5);
  CHECK(first.gradient_scale == 1.0 / 8);
  CHECK(first.step_size == 0.5);
  CHECK(first.root == 2.0);
  const StepNumbers clipped = begin(0.25, 0, {16});
  CHECK(clipped.step == 2);
  CHECK(clipped.grad_norm == 4.0);
  CHECK(clipped.gradient_scale == doctest::Approx(0.5).epsilon(1e-6));
  CHECK(clipped.step_size == 0.25 / 0.75);
  CHECK(clipped.root == 1 / std::sqrt(1 - 0.75 * 0.75));
  for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const StepNumbers skipped = begin(0.25, 8, {1, bad, 1});
    CHECK(skipped.skipped == 1);
    CHECK(skipped.step == 2);
    CHECK(!std::isfinite(skipped.grad_norm));
  }
  const StepNumbers idle = begin(0.25, 8, {});  // no parameter has a gradient
  CHECK(idle.step == 3);
  CHECK(idle.grad_norm == 0.0);
}

TEST_CASE_TEMPLATE("a skipped step writes nothing", D, Cpu, Emu) {
  const D device = poisoned_device<D>();
  StepNumbers numbers = step_numbers({});
  numbers.skipped = 1;
  const auto items = make_items<bf16, float>(device, true);
  const auto before = all_of(items);
  step<kernel::AdamWStep>(device, AdamWScalars{}, numbers, views_of(items, 2));
  step<kernel::SgdStep>(device, SgdScalars{}, numbers, views_of(items, 1));
  CHECK(all_of(items) == before);
}

TEST_CASE("hundreds of parameters take one launch, and more than a launch holds take two") {
  const Emu device = poisoned_device<Emu>();
  const auto weight = Tensor<float, Emu>::from(device, {700}, std::vector<float>(700, 1.0f));
  const auto gradient = Tensor<float, Emu>::from(device, {700}, std::vector<float>(700, 0.5f));
  const auto launches_for = [&](std::int64_t count) {
    std::vector<OptimizedView<float, float>> views;
    for (std::int64_t i = 0; i < count; ++i)
      views.push_back(
          {.weight = weight.rows(i, 1).flat(), .master = {}, .gradient = gradient.rows(i, 1).flat(), .states = {}});
    const auto before = emulator::counters().launches;
    step<kernel::SgdStep>(device, SgdScalars{}, step_numbers({.learning_rate = 1}), views);
    return emulator::counters().launches - before;
  };
  CHECK(launches_for(448) == 1);  // LoRA on the seven linears of 32 layers
  CHECK(launches_for(700) == 2);
  std::vector<double> want(448, 0.0);
  want.resize(700, 0.5);
  CHECK(doubles(weight) == want);
}
