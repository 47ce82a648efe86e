// Dequantised weights are the same bits on every device: code times scale in float, every step rounded on its own.
#include "every_device.hpp"

#include <hone/cpu/dequantise.hpp>
#include <hone/kernels/dequantise.cuh>
#include <hone/quant/quantised_weight.hpp>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

template <class C>
std::vector<C> random_codes(std::int64_t count, std::uint64_t state) {
  std::vector<C> out;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    out.push_back(static_cast<C>(state >> 56));
  }
  return out;
}

template <class C, class D>
Tensor<C, D> on(const D& device, const Shape& shape, const std::vector<C>& values) {
  return Tensor<C, D>::from(device, shape, values);
}

/// Elements of `y` after `run`, with `offset` elements of a wider tensor before it: 0 keeps its 16-byte alignment.
template <class T, class D, class Run>
std::vector<double> made(const D& device, const Shape& shape, std::int64_t offset, const Run& run) {
  return in_every_order<D>([&] {
    const auto wide = Tensor<T, D>::empty(device, {shape.elements() + offset});
    run(wide.rows(offset, shape.elements()).viewed_as(shape));
    return doubles(wide.rows(offset, shape.elements()));
  });
}

template <class T>
double rounded(float value) {
  return static_cast<double>(static_cast<float>(static_cast<T>(value)));
}

}  // namespace

TEST_CASE_TEMPLATE("dequantise nf4, plain and nested", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 21}, Shape{1, 1024}, Shape{7, 333}, Shape{2, 8320}}) {
    const std::int64_t elements = shape.elements(), blocks = ceil_div(elements, nf4_block);
    const auto codes = random_codes<std::uint8_t>(ceil_div(elements, std::int64_t{2}), 1);
    const auto absmax_codes = random_codes<std::uint8_t>(blocks, 2);
    const auto absmax = random_tensor<float, Cpu>({blocks}, 3, 0.1, 2).to_vector();
    const auto nested_absmax = random_tensor<float, Cpu>({ceil_div(blocks, nested_block)}, 4, 0.1, 2).to_vector();
    const float offset = 0.37f;
    for (const bool nested : {false, true}) {
      std::vector<double> want;
      for (std::int64_t i = 0; i < elements; ++i) {
        const auto block = static_cast<std::size_t>(i / nf4_block);
        const std::uint8_t byte = codes[static_cast<std::size_t>(i / 2)];
        volatile float product = dynamic_map[absmax_codes[block]] * nested_absmax[block / nested_block];
        const float scale = nested ? product + offset : absmax[block];
        want.push_back(rounded<T>(nf4_table[i % 2 == 0 ? byte >> 4 : byte & 15] * scale));
      }
      const QuantisedWeight<D> weight(device, shape, {.double_quant = nested}, "w");
      weight.nf4()->codes.copy_from(codes);
      if (nested) {
        weight.nf4()->absmax_codes.copy_from(absmax_codes);
        weight.nf4()->nested_absmax.copy_from(nested_absmax);
        weight.nf4()->nested_map.copy_from(dynamic_map);
        weight.nf4()->nested_offset.copy_from({&offset, 1});
      } else {
        weight.nf4()->absmax.copy_from(absmax);
      }
      for (const std::int64_t shift : {0, 1})
        CHECK(made<T>(device, shape, shift, [&](const auto& y) { dequantise(weight, y); }) == want);
    }
  }
}

TEST_CASE_TEMPLATE("dequantise int8", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 21}, Shape{5, 64}, Shape{2, 1000}}) {
    const auto codes = random_codes<std::int8_t>(shape.elements(), 5);
    const auto absmax = random_tensor<float, Cpu>({shape[0]}, 6, 0.1, 2).to_vector();
    std::vector<double> want;
    for (std::int64_t i = 0; i < shape.elements(); ++i)
      want.push_back(rounded<T>(static_cast<float>(codes[static_cast<std::size_t>(i)]) *
                                absmax[static_cast<std::size_t>(i / shape[1])] * int8_step));
    const QuantisedWeight<D> weight(device, shape, {.type = QuantType::int8}, "w");
    weight.int8()->codes.copy_from(codes);
    weight.int8()->absmax.copy_from(absmax);
    for (const std::int64_t shift : {0, 1})
      CHECK(made<T>(device, shape, shift, [&](const auto& y) { dequantise(weight, y); }) == want);
  }
}
