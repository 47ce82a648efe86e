#include "support/compare.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace {
using hone::Shape;
using hone::Tensor;
}  // namespace

TEST_CASE("constant tensors, ranges and the identity") {
  CHECK(hone::zeros<float>({2, 2}).to_vector() == std::vector<float>{0, 0, 0, 0});
  CHECK(hone::ones<double>({3}).to_vector() == std::vector<double>{1, 1, 1});
  CHECK(hone::full<std::int32_t>({}, 7).item() == 7);
  CHECK(hone::full<hone::bf16>({2, 0, 3}, 1).elements() == 0);
  CHECK(hone::arange<int>(4).to_vector() == std::vector<int>{0, 1, 2, 3});
  CHECK(hone::arange<double>(1, 2, 0.25).to_vector() == std::vector<double>{1, 1.25, 1.5, 1.75});
  CHECK(hone::arange<int>(3, 0, -2).to_vector() == std::vector<int>{3, 1});
  CHECK(hone::arange<int>(3, 3).elements() == 0);
  CHECK_THROWS_WITH(hone::arange<int>(0, 3, 0), "[arange] from 0 to 3 by 0 never ends");
  CHECK(hone::eye<float>(2).to_vector() == std::vector<float>{1, 0, 0, 1});
  CHECK(hone::eye<float>(0).elements() == 0);
}

TEST_CASE("random tensors: moments, ranges, and a stream that moves on") {
  hone::set_seed(1);
  const auto normal = hone::to<double>(hone::randn<float>({200, 500}, hone::Cpu{}, 2, 3));
  CHECK(mean(normal).item() == doctest::Approx(2).epsilon(0.01));
  CHECK(std::sqrt(mean((normal - 2) * (normal - 2)).item()) == doctest::Approx(3).epsilon(0.01));
  const auto flat = hone::to<double>(hone::uniform<float>({200, 500}, hone::Cpu{}, -1, 3));
  CHECK(mean(flat).item() == doctest::Approx(1).epsilon(0.01));
  CHECK(min(flat).item() >= -1.0);
  CHECK(max(flat).item() < 3.0);
  const auto a = hone::randn<float>({100}), b = hone::randn<float>({100});
  CHECK_FALSE(hone::test::same_bits(a, b));
  hone::set_seed(1);
  const auto first = hone::uniform<double>({4, 4});
  hone::set_seed(1);
  CHECK(hone::test::same_bits(first, hone::uniform<double>({4, 4})));
  hone::Generator mine{5, 0}, same{5, 0};
  CHECK(hone::test::same_bits(hone::randn<double>({7}, hone::Cpu{}, 0, 1, mine),
                              hone::randn<double>({7}, hone::Cpu{}, 0, 1, same)));
  CHECK(mine.offset == 7);
}

TEST_CASE("random numbers are the elements of Philox's stream, for any number of threads") {
  hone::Generator generator{9, 0};
  const hone::Cpu device({.threads = 3});
  const auto normal = hone::randn<float>({50000}, device, 0, 1, generator);
  const auto flat = hone::uniform<float>({50001}, device, 0, 1, generator);
  for (const std::uint64_t i : {0u, 1u, 2u, 3u, 4u, 16383u, 16384u, 49999u}) {
    CHECK(normal.data()[i] == hone::philox_normal(9, 0, i));
    CHECK(flat.data()[i] == hone::uniform_closed_open(hone::philox_word(9, 50000, i)));
  }
}
