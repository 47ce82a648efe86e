#include "every_device.hpp"

#include <hone/cpu/embedding.hpp>
#include <hone/kernels/embedding.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Sizes {
  std::int64_t tokens, vocabulary, cols;
};
// More tokens than a block has threads, wider than a block, nothing but repeats.
constexpr Sizes every_size[] = {{1, 1, 1}, {1, 9, 8}, {7, 5, 3}, {300, 11, 16}, {4, 3, 530}, {13, 1, 5}};

std::vector<std::int32_t> some_ids(const Sizes& s) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < s.tokens; ++i) ids.push_back(static_cast<std::int32_t>(i * i * 7 % s.vocabulary));
  return ids;
}

template <class D, class T>
std::vector<double> backward(const D& device, const Tensor<std::int32_t, D>& ids, const Tensor<T, D>& dy, auto dtable,
                             bool accumulate) {
  run_kernel<kernel::EmbeddingBackward>(device, ids.template view<1>(), View<const T, 2>(dy.template view<2>()),
                                        dtable.template view<2>(), accumulate);
  return doubles(dtable);
}

}  // namespace

TEST_CASE_TEMPLATE("embedding forward copies rows", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    const auto ids = some_ids(s);
    const auto id_tensor = Tensor<std::int32_t, D>::from(device, {s.tokens}, ids);
    const auto table = random_tensor<T, D>({s.vocabulary, s.cols}, 1, -1, 1, device);
    const auto rows = doubles(table);
    std::vector<double> want;
    for (const auto id : ids) want.insert(want.end(), rows.begin() + id * s.cols, rows.begin() + (id + 1) * s.cols);
    const auto got = in_every_order<D>([&] {
      const auto y = Tensor<T, D>::empty(device, {s.tokens, s.cols});
      run_kernel<kernel::EmbeddingForward>(device, id_tensor.template view<1>(), table.template view<2>(),
                                           y.template view<2>());
      return joined(y);
    });
    CHECK(got == want);
  }
}

TEST_CASE_TEMPLATE("embedding backward sums the rows of each id", P, On<Cpu, float>, On<Cpu, bf16>, On<Emu, float>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const D device = poisoned_device<D>();
  for (const Sizes& s : every_size) {
    CAPTURE(s.tokens);
    CAPTURE(s.cols);
    const auto ids = some_ids(s);
    const auto id_tensor = Tensor<std::int32_t, D>::from(device, {s.tokens}, ids);
    const auto dy = random_tensor<T, D>({s.tokens, s.cols}, 2, -1, 1, device);
    const auto d = doubles(dy);
    std::vector<double> want(static_cast<std::size_t>(s.vocabulary * s.cols), 0);
    for (std::size_t n = 0; n < ids.size(); ++n)
      for (std::int64_t c = 0; c < s.cols; ++c)
        want[static_cast<std::size_t>(ids[n] * s.cols + c)] +=
            d[n * static_cast<std::size_t>(s.cols) + static_cast<std::size_t>(c)];
    const auto got = in_every_order<D>([&] {
      return backward(device, id_tensor, dy, Tensor<float, D>::empty(device, {s.vocabulary, s.cols}), false);
    });
    CHECK(near<float>(got, want, "dtable"));

    const auto old = random_tensor<T, D>({s.vocabulary, s.cols}, 3, -1, 1, device);
    auto want_sum = doubles(old);
    for (std::size_t i = 0; i < want.size(); ++i) want_sum[i] += want[i];
    CHECK(near<T>(backward(device, id_tensor, dy, old, true), want_sum, "dtable accumulated"));
  }
}

TEST_CASE_TEMPLATE("embedding backward moves whole sectors", G, float, bf16) {
  const Emu device = poisoned_device<Emu>();
  const auto ids = Tensor<std::int32_t, Emu>::from(device, {2}, std::vector<std::int32_t>{3, 1});
  const auto dy = random_tensor<bf16, Emu>({2, 256}, 1, -1, 1, device);
  const auto dtable = random_tensor<G, Emu>({4, 256}, 2, -1, 1, device);
  const emulator::WithSettings settings({.count_requests = true});
  emulator::counters() = {};
  backward(device, ids, dy, dtable, true);
  const auto& seen = emulator::counters();
  CHECK(seen.global_store_sectors == 2 * 256 * static_cast<std::int64_t>(sizeof(G)) / 32);
  CHECK(seen.global_store_requests == seen.global_store_sectors / 16);  // 16 bytes a lane
}

TEST_CASE("an id outside the table is an error on Emu, not a read of foreign memory") {
  const Emu device = poisoned_device<Emu>();
  const auto table = random_tensor<float, Emu>({4, 8}, 1, -1, 1, device);
  for (const std::int32_t bad : {4, -1}) {
    const auto ids = Tensor<std::int32_t, Emu>::from(device, {1}, std::vector<std::int32_t>{bad});
    const auto y = Tensor<float, Emu>::empty(device, {1, 8});
    CHECK_THROWS_AS(run_kernel<kernel::EmbeddingForward>(device, ids.view<1>(), table.view<2>(), y.view<2>()), Error);
    CHECK_THROWS_AS(run_kernel<kernel::EmbeddingBackward>(device, ids.view<1>(), View<const float, 2>(y.view<2>()),
                                                          table.view<2>(), true),
                    Error);
  }
}
