// AdamW whose moments are kept in bf16, or in 8 bits as bitsandbytes keeps them.
#include "every_device.hpp"
#include "support/optimizer_golden.hpp"
#include "support/step_numbers.hpp"

#include <hone/cpu/optimizer.hpp>
#include <hone/kernels/optimizer.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Kept16 {};  // how moments are kept
struct Kept8 {};

template <class D, class W, class G, class K>
struct Case {
  using Device = D;
  using Weight = W;
  using Gradient = G;
  using Kept = K;
};

/// One moment with its numbers in double beside it.
template <class D, class K>
struct Moment {
  Tensor<bf16, D> half;
  Tensor<std::uint8_t, D> codes;
  Tensor<float, D> absmax;
  Tensor<DynamicMap, D> map;

  Moment(const D& device, const std::vector<double>& values, std::int64_t shift, bool with_sign) {
    const auto count = static_cast<std::int64_t>(values.size());
    if constexpr (std::is_same_v<K, Kept16>) {
      half = Tensor<bf16, D>::empty(device, {count + shift}).rows(shift, count);
      std::vector<bf16> rounded;
      for (const double value : values) rounded.push_back(bf16(static_cast<float>(value)));
      half.copy_from(rounded);
    } else {
      map = Tensor<DynamicMap, D>::from(device, {1}, std::array{dynamic_map_of(with_sign)});
      codes = Tensor<std::uint8_t, D>::empty(device, {count + shift}).rows(shift, count);
      absmax = Tensor<float, D>::empty(device, {ceil_div(count, dynamic_block)});
      std::vector<std::uint8_t> any;
      for (std::int64_t i = 0; i < count; ++i) any.push_back(static_cast<std::uint8_t>(i * 37 % 256));
      codes.copy_from(any);
      fill(absmax, 0.75f);
    }
  }
  StateView<float> view() const {
    if constexpr (std::is_same_v<K, Kept16>)
      return half.flat();
    else
      return BlockwiseView{codes.flat(), absmax.flat(), map.data()};
  }
  /// What it stands for.
  std::vector<double> values() const {
    if constexpr (std::is_same_v<K, Kept16>) {
      return doubles(half);
    } else {
      std::vector<double> out;
      const auto table = map.item();
      const auto all = codes.to_vector();
      const auto scale = absmax.to_vector();
      for (std::size_t i = 0; i < all.size(); ++i)
        out.push_back(static_cast<double>(table.values[all[i]] * scale[i / 256]));
      return out;
    }
  }

 private:
  static void fill(const Tensor<float, D>& tensor, float value) {
    tensor.copy_from(std::vector<float>(static_cast<std::size_t>(tensor.elements()), value));
  }
};

/// A parameter with moments; `shift` elements lie before its tensors' first.
template <class C>
struct Item {
  using D = typename C::Device;
  Tensor<typename C::Weight, D> weight;
  Tensor<typename C::Gradient, D> gradient;
  Moment<D, typename C::Kept> m, v;

  Item(const D& device, std::int64_t count, std::int64_t shift)
      : weight(random_tensor<typename C::Weight, D>({count + shift}, 1, -1, 1, device).rows(shift, count)),
        gradient(random_tensor<typename C::Gradient, D>({count + shift}, 2, -1, 1, device).rows(shift, count)),
        m(device, random_values(count, 3), shift, true),
        v(device, absolute(random_values(count, 4)), shift, false) {}

  OptimizedView<typename C::Weight, typename C::Gradient> view(std::uint64_t offset) const {
    return {.weight = weight.flat(),
            .master = {},
            .gradient = gradient.flat(),
            .states = {m.view(), v.view()},
            .weight_decay = 0.1,
            .offset = offset};
  }

 private:
  static std::vector<double> absolute(std::vector<double> values) {
    for (double& value : values) value = std::abs(value);
    return values;
  }
};

constexpr std::int64_t counts[] = {300, 8192 + 257, 1, 256, 511};

template <class C>
std::vector<Item<C>> items_on(const typename C::Device& device) {
  std::vector<Item<C>> out;
  for (const std::int64_t count : counts) out.emplace_back(device, count, count == 511 ? 1 : 0);
  return out;
}

template <class D, class T, class G>
void adamw_step(const D& device, const StepOf& of, const std::vector<OptimizedView<T, G>>& views,
                const AdamWScalars& scalars = {}) {
  const auto numbers = Tensor<StepNumbers, D>::from(device, {1}, std::array{step_numbers(of)});
  run_kernel<kernel::AdamWStep>(device, scalars, numbers.template in<1>(), std::span<const OptimizedView<T, G>>(views));
}

/// The largest distance between what a moment stands for and what it should, over what its type allows.
template <class K>
double worst_rounding(const std::vector<double>& got, const std::vector<double>& exact, bool with_sign) {
  double worst = 0;
  for (std::size_t begin = 0; begin < got.size(); begin += 256) {
    const std::size_t end = std::min(got.size(), begin + 256);
    double absmax = 0;
    for (std::size_t i = begin; i < end; ++i) absmax = std::max(absmax, std::abs(exact[i]));
    for (std::size_t i = begin; i < end; ++i) {
      double allowed = std::abs(exact[i]) * 0x1p-7;  // bf16's whole step: rounding goes up or down
      // Half the distance between codes: the widest pieces are those of a decade's lower end, 0.9 / 64 or / 128 at the
      // top and twice as wide a decade below.
      if constexpr (std::is_same_v<K, Kept8>)
        allowed = std::max((with_sign ? 0.072 : 0.036) * std::abs(exact[i]), 5e-7 * absmax) + 0.004 * absmax;
      worst = std::max(worst, std::abs(got[i] - exact[i]) / (allowed + 1e-7));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE_TEMPLATE("adamw with small moments: the step is exact, what is kept is rounded", C,
                   Case<Cpu, float, float, Kept16>, Case<Cpu, bf16, float, Kept8>, Case<Emu, float, float, Kept16>,
                   Case<Emu, bf16, bf16, Kept16>, Case<Emu, float, float, Kept8>, Case<Emu, bf16, bf16, Kept8>) {
  using D = typename C::Device;
  const D device = poisoned_device<D>();
  const StepOf of{.learning_rate = 1e-2, .step = 3, .gradient_scale = 0.5};
  const auto got = in_every_order<D>([&] {
    const auto items = items_on<C>(device);
    std::vector<OptimizedView<typename C::Weight, typename C::Gradient>> views;
    for (std::size_t i = 0; i < items.size(); ++i) views.push_back(items[i].view(1000 * i));
    adamw_step(device, of, views);
    std::vector<double> out;
    for (const auto& item : items)
      for (const auto& values : {doubles(item.weight), item.m.values(), item.v.values()})
        out.insert(out.end(), values.begin(), values.end());
    return out;
  });
  const auto items = items_on<C>(device);
  std::int64_t at = 0;
  for (const auto& item : items) {
    auto w = doubles(item.weight), m = item.m.values(), v = item.v.values();
    const auto g = doubles(item.gradient);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double gi = 0.5 * g[i];
      m[i] += (1 - 0.9) * (gi - m[i]);
      v[i] = v[i] * 0.999 + (1 - 0.999) * gi * gi;
      w[i] = w[i] * (1 - 1e-2 * 0.1) -
             1e-2 / (1 - std::pow(0.9, 3)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(0.999, 3)) + 1e-8);
    }
    const auto count = static_cast<std::int64_t>(w.size());
    CAPTURE(count);
    CHECK(near<typename C::Weight>(part(got, at, count), w, "weight"));
    CHECK(worst_rounding<typename C::Kept>(part(got, at + count, count), m, true) <= 1);
    CHECK(worst_rounding<typename C::Kept>(part(got, at + 2 * count, count), v, false) <= 1);
    at += 3 * count;
  }
}

TEST_CASE_TEMPLATE("moments of bf16 are rounded by chance, each from its half of a word", D, Cpu, Emu) {
  const D device = poisoned_device<D>();
  const std::int64_t count = 2050;
  const auto weight = random_tensor<float, D>({count}, 1, -1, 1, device);
  const auto gradient = random_tensor<float, D>({count}, 2, -1, 1, device);
  const auto zeros = std::vector<double>(static_cast<std::size_t>(count), 0.0);
  const Moment<D, Kept16> m(device, zeros, 0, true), v(device, zeros, 0, false);
  const std::vector<OptimizedView<float, float>> views{{.weight = weight.flat(),
                                                        .master = {},
                                                        .gradient = gradient.flat(),
                                                        .states = {m.view(), v.view()},
                                                        .offset = 77}};
  adamw_step(device, {.step = 4}, views, {.beta1 = 0.75, .beta2 = 0.9375, .seed = 5});
  const auto g = gradient.to_vector();
  const auto got_m = m.half.to_vector(), got_v = v.half.to_vector();
  std::int64_t other = 0;  // a square may be rounded before it is added, or not
  for (std::size_t i = 0; i < g.size(); ++i) {
    const std::uint32_t word = philox_word(5 + 4, state_stream(77), i);
    CHECK(got_m[i].bits == stochastic_bf16_bits(0.25f * g[i], word));
    other += got_v[i].bits == stochastic_bf16_bits(0.0625f * g[i] * g[i], word << 16) ? 0 : 1;
  }
  CHECK(other < count / 100);
}

TEST_CASE_TEMPLATE("twelve steps of 8-bit AdamW are bitsandbytes'", D, Cpu, Emu) {
  const auto golden = optimizer_golden().at("steps");
  constexpr std::int64_t count = 4300;
  const D device = poisoned_device<D>();
  const auto weight = Tensor<float, D>::from(device, {count}, golden_uniform(count, 1));
  const auto gradient = Tensor<float, D>::empty(device, {count});
  const auto zeros = std::vector<double>(count, 0.0);
  const Moment<D, Kept8> m(device, zeros, 0, true), v(device, zeros, 0, false);
  for (const auto* moment : {&m, &v}) {
    moment->codes.copy_from(std::vector<std::uint8_t>(count, 0));
    moment->absmax.copy_from(std::vector<float>(17, 0.0f));
  }
  const std::vector<OptimizedView<float, float>> views{{.weight = weight.flat(),
                                                        .master = {},
                                                        .gradient = gradient.flat(),
                                                        .states = {m.view(), v.view()},
                                                        .weight_decay = 0.1}};
  for (std::int64_t step = 1; step <= 12; ++step) {
    gradient.copy_from(golden_spread(count, 100 + step));
    adamw_step(device, {.learning_rate = 1e-2, .step = step}, views);
  }
  const auto got = weight.to_vector();
  const auto wanted = floats_of(golden.at("weight"));
  for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(got[16 * i] == doctest::Approx(wanted[i]).epsilon(1e-4));
  // The sums are formed in another order, so a number that lies on a bound may fall to the other side.
  std::int64_t others = 0;
  for (const std::size_t which : {std::size_t{0}, std::size_t{1}}) {
    const auto& moment = which == 0 ? m : v;
    const auto codes = from_hex(golden.at("codes")[which].get<std::string>(), 2);
    const auto got_codes = moment.codes.to_vector();
    REQUIRE(codes.size() == got_codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) others += got_codes[i] == codes[i] ? 0 : 1;
    const auto scales = floats_of(golden.at("absmax")[which]);
    const auto got_scales = moment.absmax.to_vector();
    for (std::size_t i = 0; i < scales.size(); ++i) CHECK(got_scales[i] == doctest::Approx(scales[i]).epsilon(1e-4));
  }
  CAPTURE(others);
  CHECK(others <= 2 * count / 500);
}

TEST_CASE("moments of all types in one step: a launch for each") {
  const Emu device = poisoned_device<Emu>();
  const Item<Case<Emu, float, float, Kept8>> small(device, 300, 0);
  const Item<Case<Emu, float, float, Kept16>> half(device, 300, 0);
  const auto weight = random_tensor<float, Emu>({300}, 1, -1, 1, device);
  const auto full = Tensor<float, Emu>::from(device, {300}, std::vector<float>(300, 0.5f));
  const auto before = doubles(weight);
  const std::vector<OptimizedView<float, float>> views{
      small.view(0),
      {.weight = weight.flat(), .master = {}, .gradient = half.gradient.flat(), .states = {full.flat(), full.flat()}},
      half.view(0)};
  const auto launches = emulator::counters().launches;
  adamw_step(device, {}, views);
  CHECK(emulator::counters().launches - launches == 3);
  for (const auto& after : {doubles(weight), doubles(small.weight), doubles(half.weight)})
    for (std::size_t i = 0; i < after.size(); ++i) CHECK(after[i] != before[i]);
}
