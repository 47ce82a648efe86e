#include "lambda_kernel.hpp"

#include <hone/emu/collectives.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace hone::emulator;
using hone::test::at_line;
using hone::test::contains;
using hone::test::emulate;
using hone::test::error_of;

TEST_CASE("a shuffle reads the lane it names, warp by warp, in every order") {
  for (const Order order : {Order::forward, Order::reversed, Order::seeded}) {
    const WithSettings settings({.order = order, .seed = 9});
    std::vector<int> got(96);
    emulate({.grid = {1}, .block = {96}}, [&] {
      const int me = static_cast<int>(threadIdx.x);
      got[threadIdx.x] = shuffle(full_mask, me, lane_of_this_thread() ^ 3);
    });
    for (int i = 0; i < 96; ++i) CHECK(got[static_cast<std::size_t>(i)] == (i ^ 3));
  }
}

TEST_CASE("only one warp of a block may shuffle") {
  std::vector<int> got(64, -1);
  emulate({.grid = {1}, .block = {64}}, [&] {
    if (threadIdx.x >= 32) return;
    got[threadIdx.x] = shuffle(full_mask, static_cast<int>(threadIdx.x) * 10, 31);
  });
  CHECK(got[0] == 310);
  CHECK(got[31] == 310);
  CHECK(got[32] == -1);
}

TEST_CASE("two halves of a warp may go their own ways, each under its mask") {
  std::vector<std::uint32_t> got(32);
  emulate({.grid = {1}, .block = {32}}, [&] {
    if (threadIdx.x < 16)
      got[threadIdx.x] = ballot(0x0000ffffu, threadIdx.x % 2 == 0);
    else
      got[threadIdx.x] = ballot(0xffff0000u, threadIdx.x % 4 == 0);
  });
  CHECK(got[3] == 0x5555u);
  CHECK(got[20] == 0x11110000u);
}

TEST_CASE("reduce combines the lanes of the mask") {
  struct Add {
    int operator()(int a, int b) const { return a + b; }
  };
  struct Least {
    int operator()(int a, int b) const { return a < b ? a : b; }
  };
  std::vector<int> sum(32), least(32);
  emulate({.grid = {1}, .block = {32}}, [&] {
    const int me = static_cast<int>(threadIdx.x);
    sum[threadIdx.x] = reduce<Add>(full_mask, me);
    least[threadIdx.x] = reduce<Least>(full_mask, 100 - me);
  });
  CHECK(sum[0] == 496);
  CHECK(sum[31] == 496);
  CHECK(least[7] == 69);
}

TEST_CASE("a mask that does not name the caller, or names lanes the block has not, is an error with file and line") {
  int line = 0;
  auto text = error_of([&] {
    emulate({.grid = {1}, .block = {32}}, [&] {
      line = __LINE__ + 1;
      ballot(0xfffffffeu, true);
    });
  });
  CHECK(contains(text, at_line(__FILE__, line)));
  CHECK(contains(text, "lane 0 calls with mask 0xfffffffe"));
  text = error_of([] { emulate({.grid = {1}, .block = {40}}, [] { ballot(full_mask, true); }); });
  CHECK(contains(text, "lanes of the warp's 0x000000ff"));
}

TEST_CASE("lanes with different masks are an error that names both") {
  const auto text = error_of(
      [] { emulate({.grid = {1}, .block = {32}}, [] { ballot(threadIdx.x == 7 ? 0xffu : full_mask, true); }); });
  CHECK(contains(text, "deadlock"));
  CHECK(contains(text, "with mask 0xffffffff"));
  CHECK(contains(text, "with mask 0x000000ff"));
  CHECK(contains(text, "test_collectives.cpp:"));
}

TEST_CASE("a collective with an exited lane is an error") {
  int line = 0;
  const auto text = error_of([&] {
    emulate({.grid = {1}, .block = {32}}, [&] {
      if (threadIdx.x == 31) return;
      line = __LINE__ + 1;
      shuffle(full_mask, 1.0f, 0);
    });
  });
  CHECK(contains(text, "waits at warp collective shuffle " + at_line(__FILE__, line)));
  CHECK(contains(text, "thread (31, 0, 0) of its mask has exited"));
}

TEST_CASE("different collectives of one warp do not meet") {
  const auto text = error_of([] {
    emulate({.grid = {1}, .block = {32}}, [] {
      if (threadIdx.x < 16)
        ballot(full_mask, true);
      else
        shuffle(full_mask, 1, 0);
    });
  });
  CHECK(contains(text, "warp collective ballot"));
  CHECK(contains(text, "warp collective shuffle"));
}

TEST_CASE("a shuffle from a lane outside the mask is an error") {
  const auto text = error_of([] {
    emulate({.grid = {1}, .block = {32}}, [] {
      if (threadIdx.x < 4) shuffle(0xfu, 1, 9);
    });
  });
  CHECK(contains(text, "reads lane 9, which is not in mask 0x0000000f"));
}
