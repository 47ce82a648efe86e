#include <hone/core/philox.hpp>
#include <hone/cpu/nest.hpp>

#include <doctest/doctest.h>

#include <vector>

namespace {

using Axes = std::array<std::int64_t, 5>;

/// Every point's offsets, by five plain loops.
std::vector<std::array<std::int64_t, 2>> by_hand(const Axes& n, const Axes& a, const Axes& b) {
  std::vector<std::array<std::int64_t, 2>> out;
  for (std::int64_t i = 0; i < n[0]; ++i)
    for (std::int64_t j = 0; j < n[1]; ++j)
      for (std::int64_t k = 0; k < n[2]; ++k)
        for (std::int64_t l = 0; l < n[3]; ++l)
          for (std::int64_t m = 0; m < n[4]; ++m)
            out.push_back({i * a[0] + j * a[1] + k * a[2] + l * a[3] + m * a[4],
                           i * b[0] + j * b[1] + k * b[2] + l * b[3] + m * b[4]});
  return out;
}

}  // namespace

TEST_CASE("walks visit the points of five loops, in order, from anywhere to anywhere") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto draw = [&](std::uint64_t i, std::uint32_t below) {
      return static_cast<std::int64_t>(hone::philox_word(seed, 0, i) % below);
    };
    Axes extents, a, b;
    for (std::size_t axis = 0; axis < 5; ++axis)
      extents[axis] = draw(axis, 4), a[axis] = draw(axis + 5, 7), b[axis] = 1;
    for (std::size_t axis = 4; axis-- > 0;) b[axis] = b[axis + 1] * extents[axis + 1];  // packed
    if (seed % 2 == 0) a = b;
    hone::cpu::Nest<2> nest;
    for (std::size_t axis = 0; axis < 5; ++axis) nest.push(extents[axis], {a[axis], b[axis]});
    const auto wanted = by_hand(extents, a, b);
    REQUIRE(nest.elements() == static_cast<std::int64_t>(wanted.size()));
    const std::int64_t begin = draw(20, static_cast<std::uint32_t>(wanted.size() + 1)),
                       end = begin +
                             draw(21, static_cast<std::uint32_t>(wanted.size() - static_cast<std::size_t>(begin) + 1));
    std::vector<std::array<std::int64_t, 2>> got;
    const auto strides = nest.inner_strides();
    nest.walk(begin, end, [&](const auto& at, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) got.push_back({at[0] + i * strides[0], at[1] + i * strides[1]});
    });
    const bool same = got == std::vector(wanted.begin() + begin, wanted.begin() + end);
    CAPTURE(seed);
    CHECK(same);
  }
}

TEST_CASE("packed operands of any rank are one loop") {
  hone::cpu::Nest<2> nest;
  const Axes extents{2, 3, 1, 4, 5}, strides{60, 20, 7, 5, 1};
  for (std::size_t axis = 0; axis < 5; ++axis) nest.push(extents[axis], {strides[axis], strides[axis]});
  int runs = 0;
  nest.walk(0, nest.elements(), [&](const auto&, std::int64_t count) { runs += count == 120 ? 1 : 100; });
  CHECK(runs == 1);
}
