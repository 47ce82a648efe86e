// Codes and scales to the bit of bitsandbytes' (tests/golden/make_quant.py), on every path of the processor.
#include <hone/cpu/quantise.hpp>
#include <hone/io/json.hpp>
#include <hone/io/tensor_files.hpp>
#include <hone/nn/init.hpp>
#include <hone/quant/quantised_weight.hpp>

#include <doctest/doctest.h>

using namespace hone;

namespace {

const TensorFiles& golden() {
  static const TensorFiles files(HONE_SOURCE_DIR "/tests/golden/quant/bitsandbytes.safetensors");
  return files;
}
template <class T>
std::vector<T> golden_values(const std::string& name) {
  std::vector<T> out(static_cast<std::size_t>(golden().shape(name).elements()));
  golden().read_into(name, out.data(), static_cast<std::int64_t>(out.size()));
  return out;
}
nlohmann::json golden_state(const std::string& name) {
  const auto bytes = golden_values<std::uint8_t>(name + ".weight.quant_state.bitsandbytes__nf4");
  return parse_json(std::string(bytes.begin(), bytes.end()), name);
}

/// The weight that make_quant.py makes of these numbers.
template <class T>
std::vector<T> weight(std::int64_t rows, std::int64_t columns, std::uint64_t state) {
  const auto next = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::int64_t>(state >> 40);
  };
  std::vector<T> out;
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    const std::int64_t first = next(), second = next();
    out.push_back(
        static_cast<T>(std::ldexp(static_cast<float>(first - second), static_cast<int>(-27 - i / columns % 5))));
  }
  return out;
}

struct Nf4 {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
};
template <class T>
Nf4 quantised(Cpu device, const std::vector<T>& x) {
  const auto count = static_cast<std::int64_t>(x.size());
  Nf4 out{std::vector<std::uint8_t>(static_cast<std::size_t>(ceil_div(count, 2))),
          std::vector<float>(static_cast<std::size_t>(ceil_div(count, nf4_block)))};
  run(Tag<kernel::QuantiseNf4>{}, device, View<const T, 1>{x.data(), {count}, 1},
      View<std::uint8_t, 1>{out.codes.data(), {ceil_div(count, 2)}, 1},
      View<float, 1>{out.absmax.data(), {ceil_div(count, nf4_block)}, 1});
  return out;
}

std::vector<Cpu> every_path() {
  std::vector<Cpu> out;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
    if (isa <= best_isa()) out.push_back(Cpu({.threads = 2, .isa = isa}));
  return out;
}

template <class T>
void check_nf4(const std::string& name, const std::vector<T>& x) {
  CAPTURE(name);
  for (const Cpu& device : every_path()) {
    CAPTURE(name_of(device.target().isa));
    const Nf4 got = quantised(device, x);
    CHECK(got.codes == golden_values<std::uint8_t>(name + ".weight"));
    const Shape shape = golden().shape(name + ".dense");
    const bool nested = golden().contains(name + ".weight.nested_absmax");
    const QuantisedWeight<Cpu> stored(device, shape, {.double_quant = nested}, "w");
    stored.nf4()->codes.copy_from(got.codes);
    if (nested) {
      const auto offset = static_cast<float>(golden_state(name)["nested_offset"].get<double>());
      const NestedScales scales = quantise_scales(got.absmax, offset);
      CHECK(scales.codes == golden_values<std::uint8_t>(name + ".weight.absmax"));
      CHECK(scales.absmax == golden_values<float>(name + ".weight.nested_absmax"));
      CHECK(quantise_scales(got.absmax).offset == doctest::Approx(offset).epsilon(1e-7));
      stored.nf4()->absmax_codes.copy_from(scales.codes);
      stored.nf4()->nested_absmax.copy_from(scales.absmax);
      stored.nf4()->nested_map.copy_from(dynamic_map);
      stored.nf4()->nested_offset.copy_from(std::vector<float>{offset});
    } else {
      CHECK(got.absmax == golden_values<float>(name + ".weight.absmax"));
      stored.nf4()->absmax.copy_from(got.absmax);
    }
    const auto dense = Tensor<T>::empty(device, shape);
    dequantise(stored, dense);
    std::vector<float> back, want;
    dense.copy_to(back);
    for (const T value : golden_values<T>(name + ".dense")) want.push_back(static_cast<float>(value));
    CHECK(back == want);
  }
}

}  // namespace

TEST_CASE("nf4: codes, scales and the way back are bitsandbytes' bit for bit") {
  check_nf4("nested", weight<bf16>(33, 520, 1));
  check_nf4("plain", weight<float>(8, 64, 2));
  check_nf4("odd", weight<float>(3, 33, 3));
  auto zeros = weight<float>(4, 64, 4);
  std::fill(zeros.begin() + 64, zeros.begin() + 128, 0.0f);
  check_nf4("zeros", zeros);
  check_nf4("one", weight<float>(1, 64, 5));
  for (const std::string name : {"nested", "odd"}) {
    CHECK(golden_values<float>(name + ".weight.quant_map") == std::vector<float>(nf4_table.begin(), nf4_table.end()));
    CHECK(golden_values<float>(name + ".weight.nested_quant_map") ==
          std::vector<float>(dynamic_map.begin(), dynamic_map.end()));
  }
}

TEST_CASE("int8: codes, absmax and the way back are bitsandbytes' bit for bit") {
  auto x = weight<bf16>(9, 70, 6);
  for (const Cpu& device : every_path()) {
    const QuantisedWeight<Cpu> stored(device, {9, 70}, {.type = QuantType::int8}, "w");
    Cpu handle = device;
    run(Tag<kernel::QuantiseInt8>{}, handle, View<const bf16, 2>{x.data(), {9, 70}, 70}, stored.int8()->codes.view<2>(),
        stored.int8()->absmax.view<1>());
    CHECK(stored.int8()->codes.to_vector() == golden_values<std::int8_t>("int8.weight"));
    CHECK(stored.int8()->absmax.to_vector() == golden_values<float>("int8.SCB"));
    const auto dense = Tensor<bf16>::empty(device, {9, 70});
    dequantise(stored, dense);
    std::vector<float> back, want;
    dense.copy_to(back);
    for (const bf16 value : golden_values<bf16>("int8.dense")) want.push_back(static_cast<float>(value));
    CHECK(back == want);
  }
}

TEST_CASE("nf4: mean absolute error on N(0, 1) is bitsandbytes' within 7 sigma") {
  // 0.072798 is bitsandbytes' own figure; 7.8e-5 is the standard deviation over 24 draws of 1024 x 1024.
  Cpu device({.threads = 2});
  const auto x = Tensor<float>::empty(device, {1024, 1024});
  fill_normal(x, 1.0, 5, 0);
  std::vector<float> values = x.to_vector();
  const Nf4 got = quantised(device, values);
  const QuantisedWeight<Cpu> stored(device, {1024, 1024}, {.double_quant = false}, "w");
  stored.nf4()->codes.copy_from(got.codes);
  stored.nf4()->absmax.copy_from(got.absmax);
  dequantise(stored, x);
  double sum = 0;
  const auto back = x.to_vector();
  for (std::size_t i = 0; i < back.size(); ++i)
    sum += std::abs(static_cast<double>(back[i]) - static_cast<double>(values[i]));
  CHECK(std::abs(sum / static_cast<double>(back.size()) - 0.072798) <= 7 * 7.8e-5);
}

TEST_CASE("quantise: a value that is not finite shows in its scale alone") {
  Cpu device({.threads = 2});
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    auto x = weight<float>(3, 64, 7);
    x[100] = bad;
    const Nf4 got = quantised(device, x);
    CHECK(std::isfinite(got.absmax[0]));
    CHECK(std::isnan(got.absmax[1]));
    CHECK(std::isfinite(got.absmax[2]));
  }
}

TEST_CASE("quantisation: skipped modules and bytes") {
  const Quantisation some{.skip_modules = {"lm_head", "model.layers.1", "down_proj"}};
  CHECK(is_skipped(some, "model.layers.1.self_attn.q_proj"));
  CHECK_FALSE(is_skipped(some, "model.layers.11.self_attn.q_proj"));
  CHECK(is_skipped(some, "model.layers.0.mlp.down_proj"));
  CHECK_FALSE(is_skipped({}, "model.layers.0.mlp.down_proj"));
  for (const Quantisation& how : {Quantisation{}, Quantisation{.double_quant = false}, Quantisation{QuantType::int8}})
    CHECK(QuantisedWeight<Meta>(Meta{}, {37, 65}, how, "w").bytes() == quantised_bytes(how, 37, 65));
}
