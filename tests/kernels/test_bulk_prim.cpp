// The asynchronous primitives of sm_90a together: tiles by TMA through two buffers, products by wgmma, the result back
// by TMA.
#include "emu/lambda_kernel.hpp"

#include <hone/device/launch.cuh>
#include <hone/prim/cluster.cuh>
#include <hone/prim/mbarrier.cuh>
#include <hone/prim/named_barrier.cuh>
#include <hone/prim/tma.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>
#include <hone/prim/wgmma.cuh>

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace hone {
inline namespace HONE_TARGET {

struct alignas(1024) PipelineShared {
  bf16 a[2][64 * 64], b[2][64 * 64];
  bf16 c[64 * 64];
  std::uint64_t full[2], empty[2];
};

enum class Slip { none, early_refill, no_proxy_fence };

/// c (64, 64) = a (64, k) b (64, k)^T. Four warps multiply; a fifth one fills two buffers in turn.
template <Slip slip>
__global__ void pipeline_kernel(TensorMap a, TensorMap b, TensorMap c, int k) {
  auto& s = shared_memory<PipelineShared>();
  const int steps = k / 64;
  if (thread_index() == 0) {
    for (int i = 0; i < 2; ++i) {
      mbarrier_init(&s.full[i], 1);
      mbarrier_init(&s.empty[i], 4);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (warp_index() == 4) {
    if (lane_index() != 0) return;
    for (int step = 0; step < steps; ++step) {
      const int buffer = step % 2;
      if (step >= 2 && slip != Slip::early_refill)
        mbarrier_wait(&s.empty[buffer], static_cast<unsigned>(step / 2 - 1) % 2);
      mbarrier_arrive_expect(&s.full[buffer], sizeof(s.a[0]) + sizeof(s.b[0]));
      tma_load(s.a[buffer], a, &s.full[buffer], step * 64, 0);
      tma_load(s.b[buffer], b, &s.full[buffer], step * 64, 0);
    }
    return;
  }
  float sums[32];
  for (int step = 0; step < steps; ++step) {
    const int buffer = step % 2;
    mbarrier_wait(&s.full[buffer], static_cast<unsigned>(step / 2) % 2);
    wgmma_fence();
    for (int at = 0; at < 64; at += 16)
      wgmma<64>(sums, wgmma_descriptor(s.a[buffer] + at, 0, 1024, Swizzle::b128),
                wgmma_descriptor(s.b[buffer] + at, 0, 1024, Swizzle::b128), step + at > 0);
    wgmma_commit();
    wgmma_wait<0>();
    if (lane_index() == 0) mbarrier_arrive(&s.empty[buffer]);
  }
  const int row = warp_index() * 16 + lane_index() / 4;
  for (int i = 0; i < 32; i += 2) {
    const auto at = static_cast<std::uint32_t>((row + i % 4 / 2 * 8) * 128 + (i / 4 * 8 + lane_index() % 4 * 2) * 2);
    auto* to = reinterpret_cast<bf16*>(reinterpret_cast<char*>(s.c) + swizzled(at, Swizzle::b128));
    store(to, Vec<bf16, 2>{{from_float<bf16>(sums[i]), from_float<bf16>(sums[i + 1])}});
  }
  if (slip != Slip::no_proxy_fence) async_proxy_fence();
  named_barrier_sync(1, 128);
  if (thread_index() != 0) return;
  tma_store(c, 0, 0, s.c);
  tma_store_commit();
  tma_store_wait<0>();
}

/// Sum over a cluster: every block adds what lies in all of them, in the order of their numbers.
template <int Barriers>
__global__ void cluster_sum_kernel(const float* in, float* out) {
  auto& mine = shared_memory<float>();
  if (thread_index() == 0) store(&mine, load(in + blockIdx.x));
  cluster_sync();
  float sum = 0;
  for (int rank = 0; rank < cluster_size(); ++rank) sum += load(cluster_map(&mine, rank));
  if (Barriers > 1) cluster_sync();
  if (thread_index() == 0) store(out + blockIdx.x, sum);
}

struct alignas(1024) MulticastShared {
  bf16 tile[2][64 * 64];
  std::uint64_t full[2], empty[2];
};

enum class Wrong { nothing, refills_at_once, mask };

/// Sums of tiles of 64 x 64, of which block 0 fetches each once for both blocks of its cluster.
template <Wrong wrong>
__global__ void multicast_kernel(TensorMap in, float* out, int tiles) {
  auto& s = shared_memory<MulticastShared>();
  if (thread_index() == 0) {
    for (int i = 0; i < 2; ++i) {
      mbarrier_init(&s.full[i], 1);
      mbarrier_init(&s.empty[i], 2);
    }
    mbarrier_init_fence();
  }
  cluster_sync();
  float sum = 0;
  for (int n = 0; n < tiles; ++n) {
    const int place = n % 2;
    if (thread_index() == 0) mbarrier_arrive_expect(&s.full[place], sizeof(s.tile[0]));
    if (thread_index() == 0 && cluster_rank() == 0) {
      if (n >= 2 && wrong != Wrong::refills_at_once)
        mbarrier_wait(&s.empty[place], static_cast<unsigned>(n / 2 - 1) % 2);
      tma_load_multicast(s.tile[place], in, &s.full[place], 0, n * 64, wrong == Wrong::mask ? 5 : 3);
    }
    mbarrier_wait(&s.full[place], static_cast<unsigned>(n / 2) % 2);
    for (int i = thread_index(); i < 64 * 64; i += 32) sum += to_float(load(&s.tile[place][i]));
    __syncwarp();
    if (thread_index() == 0) cluster_mbarrier_arrive(&s.empty[place], 0);
  }
  for (int offset = 16; offset > 0; offset /= 2) sum += warp_xor(sum, offset);
  if (thread_index() == 0) store(out + blockIdx.x, sum);
  cluster_sync();
}

}  // namespace HONE_TARGET
}  // namespace hone

using namespace hone;

namespace {

constexpr int depth = 320;

TileGeometry tiles(std::int64_t rows, std::int64_t cols) {
  TileGeometry g;
  g.extents = {cols, rows, 1, 1, 1};
  g.strides = {1, cols, 0, 0, 0};
  g.box = {64, 64, 1, 1, 1};
  g.swizzle = Swizzle::b128;
  return g;
}

/// Elements of c that are not a b^T; rows 50 to 63 do not exist.
template <Slip slip>
int wrong(const emulator::Settings& settings) {
  const emulator::WithSettings scope(settings);
  struct alignas(16) Memory {
    bf16 a[50 * depth], b[64 * depth], c[50 * 64];
  };
  const auto m = std::make_unique<Memory>();
  const auto value = [](int i, int salt) { return static_cast<float>((i * 7 + salt) % 5 - 2); };
  for (int i = 0; i < 50 * depth; ++i) m->a[i] = value(i, 1);
  for (int i = 0; i < 64 * depth; ++i) m->b[i] = value(i, 3);
  Emu device;
  launch(device, "pipeline", {{1}, {160}, sizeof(PipelineShared)}, &pipeline_kernel<slip>,
         tensor_map(device, m->a, tiles(50, depth)), tensor_map(device, m->b, tiles(64, depth)),
         tensor_map(device, m->c, tiles(50, 64)), depth);
  int count = 0;
  for (int i = 0; i < 50; ++i) {
    for (int j = 0; j < 64; ++j) {
      float want = 0;
      for (int k = 0; k < depth; ++k) want += value(i * depth + k, 1) * value(j * depth + k, 3);
      count += float(m->c[i * 64 + j]) == float(bf16(want)) ? 0 : 1;
    }
  }
  return count;
}

}  // namespace

TEST_CASE("a pipeline of bulk copies and wgmma is right in every order") {
  for (const auto order : {emulator::Order::forward, emulator::Order::reversed, emulator::Order::seeded})
    CHECK(wrong<Slip::none>({.order = order, .seed = 5}) == 0);
}

TEST_CASE("a buffer that is refilled without waiting for its readers overruns the phases, which is reported") {
  for (const auto order : {emulator::Order::forward, emulator::Order::reversed}) {
    const auto text = test::error_of([&] { wrong<Slip::early_refill>({.order = order}); });
    CHECK(test::contains(text, "deadlock: thread"));
    CHECK(test::contains(text, "for an mbarrier, phase"));
  }
}

TEST_CASE("a bulk store of what was written without a fence is refused") {
  const auto text = test::error_of([] { wrong<Slip::no_proxy_fence>({}); });
  CHECK(test::contains(text, "tma_store"));
  CHECK(test::contains(text, "has not called async_proxy_fence() since"));
}

TEST_CASE("blocks of a cluster add what all of them hold") {
  for (const auto order : {emulator::Order::forward, emulator::Order::reversed, emulator::Order::seeded}) {
    const emulator::WithSettings scope({.order = order});
    const std::vector<float> in{1, 2, 4, 8, 16, 32};
    std::vector<float> out(6, -1);
    Emu device(Target{.kind = DeviceKind::emu, .alignment = 256, .sm = 90});
    const gpu::LaunchShape shape{{6}, {32}, sizeof(float), 3};
    launch(device, "cluster_sum", shape, &cluster_sum_kernel<2>, in.data(), out.data());
    CHECK(out == std::vector<float>{7, 7, 7, 56, 56, 56});
    const auto text =
        test::error_of([&] { launch(device, "cluster_sum", shape, &cluster_sum_kernel<1>, in.data(), out.data()); });
    CHECK(test::contains(text, "which has ended; a cluster barrier keeps it waiting"));
  }
}

TEST_CASE("one bulk load fills a tile in every block of a cluster") {
  constexpr int count = 5;
  std::vector<bf16> data(64 * 64 * count + 8);
  bf16* in = data.data() + (16 - reinterpret_cast<std::uintptr_t>(data.data()) % 16) % 16 / 2;
  float want = 0;
  for (int i = 0; i < 64 * 64 * count; ++i) want += float(in[i] = static_cast<float>(i % 7 - 2));
  std::vector<float> out(2, -1);
  Emu device(Target{.kind = DeviceKind::emu, .alignment = 256, .sm = 90});
  const auto run = [&](void (*kernel)(TensorMap, float*, int)) {
    launch(device, "multicast", {{2}, {32}, sizeof(MulticastShared), 2}, kernel,
           tensor_map(device, in, tiles(64 * count, 64)), out.data(), count);
  };
  for (const auto order : {emulator::Order::forward, emulator::Order::reversed, emulator::Order::seeded}) {
    const emulator::WithSettings scope({.order = order});
    emulator::counters() = {};
    run(&multicast_kernel<Wrong::nothing>);
    CHECK(out == std::vector<float>{want, want});
    CHECK(emulator::counters().async_copy_bytes == 64 * 64 * 2 * count);  // read once for both
    CHECK(test::contains(test::error_of([&] { run(&multicast_kernel<Wrong::mask>); }), "mask 0x5 for a cluster of 2"));
  }
  // Forward, block 0 runs ahead and fills a place that block 1 still reads.
  CHECK(test::contains(test::error_of([&] { run(&multicast_kernel<Wrong::refills_at_once>); }), "more came than were"));
}
