#include "lambda_kernel.hpp"

#include <hone/emu/collectives.hpp>
#include <hone/emu/memory_access.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

using namespace hone::emulator;
using hone::test::at_line;
using hone::test::contains;
using hone::test::emulate;
using hone::test::error_of;

namespace {

constexpr int threads = 64;

float* shared_floats() {
  return reinterpret_cast<float*>(this_block(Where::here()).shared(threads * sizeof(float), Where::here()));
}

/// out[i] = the neighbour's value by way of shared memory; with the barrier left out, a race.
std::vector<float> rotate(const Settings& wanted, bool with_barrier) {
  const WithSettings settings(wanted);
  std::vector<float> out(threads);
  emulate({.grid = {1}, .block = {threads}, .shared_bytes = threads * sizeof(float)}, [&] {
    float* shared = shared_floats();
    shared[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (with_barrier) block_barrier();
    out[threadIdx.x] = shared[(threadIdx.x + 1) % threads];
  });
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

constexpr Settings every_order[] = {
    {.order = Order::forward}, {.order = Order::reversed}, {.order = Order::seeded, .seed = 3}};

}  // namespace

TEST_CASE("a barrier makes shared memory agree in every order") {
  for (const auto& settings : every_order) {
    const auto out = rotate(settings, true);
    for (unsigned i = 0; i < threads; ++i) CHECK(out[i] == static_cast<float>((i + 1) % threads));
  }
}

TEST_CASE("a missing barrier is seen twice: by poison and by order") {
  const auto forward = rotate(every_order[0], false);
  int poisoned = 0;
  for (const float value : forward) poisoned += std::isnan(value) ? 1 : 0;
  CHECK(poisoned == threads - 1);  // everyone but the last reads what nobody has written
  CHECK(!same_bits(forward, rotate(every_order[1], false)));
  CHECK(!same_bits(forward, rotate(every_order[2], false)));
}

TEST_CASE("shared memory is poisoned anew for every block") {
  std::vector<float> first(4);
  emulate({.grid = {4}, .block = {1}, .shared_bytes = sizeof(float)}, [&] {
    auto* shared = reinterpret_cast<float*>(this_block(Where::here()).shared(sizeof(float), Where::here()));
    first[blockIdx.x] = *shared;
    *shared = 1;
  });
  for (const float value : first) CHECK(std::isnan(value));
}

TEST_CASE("a kernel that uses more shared memory than it was given is refused") {
  const auto text = error_of([] { emulate({.grid = {1}, .block = {1}, .shared_bytes = 16}, [] { shared_floats(); }); });
  CHECK(contains(text, "the kernel uses 256 bytes, the launch gave 16"));
  CHECK(contains(text, "test_block.cpp:"));
}

TEST_CASE("a barrier that an exited thread never reaches is an error with file and line") {
  int line = 0;
  const auto text = error_of([&] {
    emulate({.grid = {2}, .block = {threads}}, [&] {
      if (threadIdx.x == 5) return;
      line = __LINE__ + 1;
      block_barrier();
    });
  });
  CHECK(contains(text, "[emu] test_kernel, block (0, 0, 0): divergent barrier"));
  CHECK(contains(text, at_line(__FILE__, line)));
  CHECK(contains(text, "thread (5, 0, 0) has exited"));
}

TEST_CASE("threads that wait at two different barriers are an error that names both") {
  int one = 0, other = 0;
  const auto text = error_of([&] {
    emulate({.grid = {1}, .block = {threads}}, [&] {
      if (threadIdx.x < 32) {
        one = __LINE__ + 1;
        block_barrier();
      } else {
        other = __LINE__ + 1;
        block_barrier();
      }
    });
  });
  CHECK(contains(text, "divergent barrier"));
  CHECK(contains(text, at_line(__FILE__, one)));
  CHECK(contains(text, at_line(__FILE__, other)));
}

TEST_CASE("barrier against warp collective is a deadlock that is reported, not a hang") {
  const auto text = error_of([] {
    emulate({.grid = {1}, .block = {32}}, [] {
      if (threadIdx.x == 0)
        block_barrier();
      else
        warp_barrier(full_mask);
    });
  });
  CHECK(contains(text, "deadlock: thread (1, 0, 0) waits at warp collective warp barrier"));
  CHECK(contains(text, "thread (0, 0, 0) of its mask waits at barrier"));
}

TEST_CASE("an exception of one thread reaches the host and unwinds the others") {
  struct Alive {
    int* count;
    explicit Alive(int* c) : count(c) { ++*count; }
    ~Alive() { --*count; }
  };
  int alive = 0;
  bool caught = false;
  try {
    emulate({.grid = {4}, .block = {threads}}, [&] {
      const Alive here(&alive);
      block_barrier();
      if (blockIdx.x == 1 && threadIdx.x == 40) throw std::runtime_error("from thread 40");
      block_barrier();
    });
  } catch (const std::runtime_error& error) {
    caught = std::string(error.what()) == "from thread 40";
  }
  CHECK(caught);
  CHECK(alive == 0);
  // The emulator can be used again.
  CHECK(same_bits(rotate(every_order[0], true), rotate(every_order[1], true)));
}

TEST_CASE("a thread that spins on a lock another one holds is a livelock, not a hang") {
  int lock = 0;
  const auto text = error_of([&] {
    emulate({.grid = {1}, .block = {2}}, [&] {
      const auto take = [](int before) { return before == 0 ? 1 : before; };
      while (atomic("atomicCAS", &lock, take, Where::here()) != 0) {
      }
      block_barrier();  // with the lock held
    });
  });
  CHECK(contains(text, "livelock: atomicCAS"));
  CHECK(contains(text, "test_block.cpp:"));
}

TEST_CASE("atomics add up, and a spinning thread lets the holder finish") {
  int total = 0, lock = 0, guarded = 0;
  emulate({.grid = {4}, .block = {threads}}, [&] {
    atomic(
        "atomicAdd", &total, [](int before) { return before + 1; }, Where::here());
    while (atomic(
               "atomicCAS", &lock, [](int before) { return before == 0 ? 1 : before; }, Where::here()) != 0) {
    }
    ++guarded;
    this_block(Where::here()).yield();  // others try while this thread holds the lock
    atomic(
        "atomicExch", &lock, [](int) { return 0; }, Where::here());
  });
  CHECK(total == 4 * threads);
  CHECK(guarded == 4 * threads);
}

TEST_CASE("counters count a barrier once per block") {
  counters() = {};
  emulate({.grid = {3}, .block = {threads}}, [] {
    block_barrier();
    block_barrier();
  });
  CHECK(counters().barriers == 6);
}
