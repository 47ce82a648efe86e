#include "lambda_kernel.hpp"

#include <hone/emu/launch.hpp>

#include <doctest/doctest.h>

#include <numeric>
#include <set>
#include <tuple>
#include <vector>

using namespace hone::emulator;
using hone::test::contains;
using hone::test::emulate;
using hone::test::error_of;

TEST_CASE("every thread of a grid runs once, under its own indices") {
  for (const Order order : {Order::forward, Order::reversed, Order::seeded}) {
    const WithSettings settings({.order = order, .seed = 5});
    std::set<std::tuple<unsigned, unsigned, unsigned, unsigned>> seen;
    int calls = 0;
    emulate({.grid = {3, 2}, .block = {8, 4}}, [&] {
      ++calls;
      seen.insert({blockIdx.x, blockIdx.y, threadIdx.x, threadIdx.y});
      CHECK(blockDim.x == 8);
      CHECK(gridDim.y == 2);
    });
    CHECK(calls == 3 * 2 * 8 * 4);
    CHECK(seen.size() == 3 * 2 * 8 * 4);
  }
}

TEST_CASE("orders are what they say") {
  const auto run = [](const Settings& wanted) {
    const WithSettings settings(wanted);
    std::vector<unsigned> order;
    emulate({.grid = {2}, .block = {4}}, [&] { order.push_back(blockIdx.x * 4 + threadIdx.x); });
    return order;
  };
  CHECK(run({.order = Order::forward}) == std::vector<unsigned>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(run({.order = Order::reversed}) == std::vector<unsigned>{7, 6, 5, 4, 3, 2, 1, 0});
  CHECK(run({.order = Order::seeded, .seed = 1}) == run({.order = Order::seeded, .seed = 1}));
  CHECK(run({.order = Order::seeded, .seed = 1}) != run({.order = Order::seeded, .seed = 2}));
}

TEST_CASE("impossible launches are refused") {
  const auto refuse = [](const LaunchShape& shape) { return error_of([&] { emulate(shape, [] {}); }); };
  CHECK(contains(refuse({.grid = {1}, .block = {1025}}),
                 "[emu] test_kernel: block (1025, 1, 1) must have 1 to 1024 threads"));
  CHECK(contains(refuse({.grid = {0}, .block = {32}}), "grid (0, 1, 1)"));
  CHECK(contains(refuse({.grid = {1, 70000}, .block = {32}}), "grid (1, 70000, 1)"));
  CHECK(contains(refuse({.grid = {1}, .block = {32}, .shared_bytes = 230 << 10}), "235520 bytes of shared memory"));
  CHECK(contains(error_of([] { emulate({}, [] { emulate({}, [] {}); }); }), "a kernel cannot launch a kernel"));
  CHECK(contains(error_of([] { this_block(Where::here()); }), "is called outside a kernel"));
}

TEST_CASE("counters count launches, blocks and threads") {
  counters() = {};
  emulate({.grid = {3}, .block = {64}}, [] {});
  CHECK(counters().launches == 1);
  CHECK(counters().blocks == 3);
  CHECK(counters().threads == 192);
}
