#include <hone/tensor/strided_view.hpp>

#include <doctest/doctest.h>

#include <type_traits>

TEST_CASE("elements are computed in the widest type among them") {
  CHECK(std::is_same_v<hone::ComputeType<float, const double>, double>);
  CHECK(std::is_same_v<hone::ComputeType<hone::bf16, bool>, float>);
  CHECK(std::is_same_v<hone::ComputeType<std::int32_t, bool>, std::int64_t>);
}

TEST_CASE("values become elements by rounding, or by cutting off") {
  CHECK(hone::element_cast<int>(2.9) == 2);
  CHECK(static_cast<float>(hone::element_cast<hone::bf16>(std::int64_t{257})) == 256.0f);
  CHECK(static_cast<float>(hone::element_cast<hone::fp16>(0.1)) == 0.0999755859375f);
  CHECK(hone::element_cast<bool>(0.5f));
}

TEST_CASE("a broadcast axis is visited often and stored once") {
  const hone::StridedView<float> view{nullptr, {1, 1, 2, 3, 4}, {0, 0, 12, 0, 1}};
  CHECK(view.elements() == 24);
  CHECK(view.distinct() == 8);
  const hone::StridedView<float> empty{nullptr, {1, 1, 1, 0, 4}, {0, 0, 0, 4, 1}};
  CHECK(empty.elements() == 0);
  CHECK(empty.distinct() == 0);
}
