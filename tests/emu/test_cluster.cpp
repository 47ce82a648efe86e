#include "lambda_kernel.hpp"

#include <hone/emu/barriers.hpp>
#include <hone/emu/collectives.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace hone::emulator;
using hone::test::contains;
using hone::test::emulate;
using hone::test::error_of;

namespace {

constexpr int threads = 64;

struct Shared {
  int values[threads];
};

Shared& shared() { return *reinterpret_cast<Shared*>(this_block(Where::here()).shared(sizeof(Shared), Where::here())); }

int get(const int* from, Where where = Where::here()) {
  int value = 0;
  read(&value, from, sizeof(value), where);
  return value;
}
void put(int* to, int value, Where where = Where::here()) { write(to, &value, sizeof(value), where); }

void cluster_sync(Where where = Where::here()) {
  cluster_arrive(where);
  cluster_wait(where);
}

enum class Slip { none, no_first_barrier, no_last_barrier, half_arrives, one_block_ends, arrives_twice, never_waits };

/// Every thread writes to its own block and reads the next block of the cluster, in a grid of two clusters of four.
std::vector<int> rotate(Order order, Slip slip = Slip::none) {
  const WithSettings scope({.order = order, .seed = 3});
  std::vector<int> out(8 * threads, -1);
  emulate({.grid = {8}, .block = {threads}, .shared_bytes = sizeof(Shared), .cluster = 4}, [&] {
    const int rank = this_block(Where::here()).rank(), thread = static_cast<int>(threadIdx.x);
    const int block = static_cast<int>(blockIdx.x);
    if (slip == Slip::one_block_ends && block == 6) return;
    put(&shared().values[thread], block * 100 + thread);
    if (slip == Slip::half_arrives && block == 5 && thread >= 32) block_barrier();
    if (slip == Slip::arrives_twice) cluster_arrive();
    if (slip != Slip::no_first_barrier) cluster_sync();
    const int next = (rank + 1) % 4;
    out[static_cast<std::size_t>(block * threads + thread)] = get(&map_shared(&shared(), next)->values[thread]);
    if (slip == Slip::never_waits) cluster_arrive();
    if (slip != Slip::no_last_barrier && slip != Slip::never_waits) cluster_sync();
  });
  return out;
}

}  // namespace

TEST_CASE("blocks of a cluster read one another's shared memory, in every order") {
  counters() = {};
  for (const Order order : {Order::forward, Order::reversed, Order::seeded}) {
    const std::vector<int> out = rotate(order);
    int wrong = 0;
    for (int block = 0; block < 8; ++block)
      for (int thread = 0; thread < threads; ++thread)
        wrong +=
            out[static_cast<std::size_t>(block * threads + thread)] == (block / 4 * 4 + (block + 1) % 4) * 100 + thread
                ? 0
                : 1;
    CHECK(wrong == 0);
  }
  CHECK(counters().blocks == 3 * 8);
  CHECK(counters().peer_bytes == 3 * 8 * threads * 4);
  CHECK(counters().shared_load_bytes == 0);
}

TEST_CASE("a peer's shared memory may be written before it is read there") {
  int got = 0;
  emulate({.grid = {2}, .block = {32}, .shared_bytes = sizeof(Shared), .cluster = 2}, [&] {
    cluster_sync();
    if (blockIdx.x == 0 && threadIdx.x == 0) put(&map_shared(&shared(), 1)->values[7], 42);
    cluster_sync();
    if (blockIdx.x == 1 && threadIdx.x == 5) got = get(&shared().values[7]);
  });
  CHECK(got == 42);
}

TEST_CASE("misuse of clusters is an error that names it") {
  const auto text = [](Slip slip, Order order = Order::forward) { return error_of([&] { rotate(order, slip); }); };
  CHECK(
      contains(text(Slip::no_first_barrier), "before the cluster's first barrier nobody knows that block 1 has begun"));
  // Which block ends first depends on the order; that one did is always seen.
  CHECK(contains(text(Slip::no_last_barrier), "this is shared memory of block ("));
  CHECK(contains(text(Slip::no_last_barrier, Order::reversed), "which has ended"));
  CHECK(contains(text(Slip::one_block_ends),
                 "for the cluster's barrier, where 192 threads have arrived; thread (0, 0, "
                 "0) of block (6, 0, 0) has not"));
  const std::string half = text(Slip::half_arrives);
  CHECK(contains(half, "deadlock: thread (0, 0, 0) waits"));
  CHECK(contains(half, "where 224 threads have arrived; thread (32, 0, 0) of block (5, 0, 0) has not"));
  CHECK(contains(text(Slip::arrives_twice), "cluster_arrive"));
  CHECK(contains(text(Slip::arrives_twice), "arrives again without having waited"));
  CHECK(contains(text(Slip::never_waits), "ends while it has arrived at the cluster's barrier and not waited there"));
}

TEST_CASE("a cluster must divide the grid; a wait needs an arrival; ranks are the cluster's") {
  const auto text = [](const LaunchShape& shape, auto&& body) { return error_of([&] { emulate(shape, body); }); };
  auto nothing = [] {};
  CHECK(contains(text({.grid = {6}, .block = {32}, .cluster = 4}, nothing),
                 "clusters of 4 must be of 1 to 8 blocks and divide the grid's 6"));
  CHECK(contains(text({.grid = {16}, .block = {32}, .cluster = 16}, nothing), "must be of 1 to 8 blocks"));
  const LaunchShape pair{.grid = {2}, .block = {32}, .shared_bytes = sizeof(Shared), .cluster = 2};
  CHECK(contains(text(pair, [] { cluster_wait(); }), "waits without having arrived"));
  CHECK(contains(text(pair, [] { map_shared(&shared(), 2); }), "block 2 of a cluster of 2"));
  int own = 0;
  CHECK(contains(text(pair, [&] { map_shared(&own, 0); }), "not in shared memory"));
  // A failure in one block ends the other, whose threads wait.
  CHECK(contains(text(pair,
                      [] {
                        if (blockIdx.x == 1) this_block(Where::here()).fail_here("gives up");
                        cluster_sync();
                      }),
                 "block (1, 0, 0), thread (0, 0, 0): gives up"));
}
