#include <hone/autograd/gradient.hpp>
#include <hone/cpu/fill_copy.hpp>

#include <doctest/doctest.h>

#include <limits>

namespace {

using hone::GradientSlot;
using hone::Tensor;
using T = Tensor<float>;
using Slot = GradientSlot<float, hone::Cpu>;

const auto add_one = [](const T& sum, bool accumulate) {
  for (std::int64_t i = 0; i < sum.elements(); ++i) sum.data()[i] = (accumulate ? sum.data()[i] : 0.0f) + 1;
};

}  // namespace

TEST_CASE("a fresh slot shares the first gradient and adds later ones in memory of its own") {
  Slot slot({2});
  CHECK_FALSE(slot.filled());
  CHECK_FALSE(slot.value_or_none().defined());
  CHECK_THROWS_WITH(slot.value(), "[autograd] no gradient of shape (2,) has been computed");
  const T first = T::from({2}, {1, 2});
  slot.absorb(first);
  CHECK(slot.value().same_storage(first));
  slot.absorb(T::from({2}, {10, 20}));
  CHECK(slot.value().to_vector() == std::vector<float>{11, 22});
  CHECK(first.to_vector() == std::vector<float>{1, 2});  // whoever gave it still has it
  const float* memory = slot.value().data();
  slot.contribute(hone::Cpu{}, add_one);
  CHECK(slot.value().to_vector() == std::vector<float>{12, 23});
  CHECK(slot.value().data() == memory);
  slot.clear();
  CHECK_FALSE(slot.filled());
}

TEST_CASE("a kept slot writes over what it holds, then adds, and keeps its memory") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const T buffer = T::from({2}, {nan, nan});
  Slot slot(buffer);
  for (int step = 0; step < 2; ++step) {
    slot.contribute(hone::Cpu{}, add_one);
    CHECK(slot.value().to_vector() == std::vector<float>{1, 1});
    slot.absorb(T::from({2}, {1, 2}));
    CHECK(slot.value().to_vector() == std::vector<float>{2, 3});
    CHECK(slot.value().same_storage(buffer));
    slot.clear();
    CHECK_FALSE(slot.filled());
  }
  slot.absorb(T::from({2}, {5, 6}));
  CHECK(buffer.to_vector() == std::vector<float>{5, 6});
}

TEST_CASE("a wide slot sums bf16 gradients in float") {
  using B = Tensor<hone::bf16>;
  GradientSlot<hone::bf16, hone::Cpu> slot(T::from({1}, {std::numeric_limits<float>::quiet_NaN()}), std::true_type{});
  CHECK(slot.wide());
  slot.absorb(B::from({1}, {256.0f}));
  for (int i = 0; i < 4; ++i) slot.absorb(B::from({1}, {0.5f}));  // each would be lost in bf16
  CHECK(slot.wide_value().item() == 258.0f);
  slot.contribute_weight(hone::Cpu{}, [](const auto& sum, bool accumulate) {
    CHECK(accumulate);
    CHECK(sizeof(*sum.data()) == sizeof(float));
  });
  slot.contribute(hone::Cpu{}, [](const auto& narrow, bool accumulate) {
    CHECK_FALSE(accumulate);
    narrow.data()[0] = hone::bf16(1.0f);
  });
  CHECK(slot.wide_value().item() == 259.0f);
}

TEST_CASE("owned() gives memory that nobody else reads") {
  Slot slot({2});
  const T shared = T::from({2}, {1, 2});
  slot.absorb(shared);
  slot.owned().data()[0] = 50;
  CHECK(shared.data()[0] == 1.0f);
  CHECK(slot.value().data()[0] == 50.0f);
}
