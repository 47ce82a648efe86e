// The ladder of GEMM: every rung is right, and does what its head comment predicts.
#include "every_device.hpp"

#include <hone/study/gemm.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

struct Sizes {
  int m, n, k;
};

/// One rung on random factors; what it wrote and what it was counted to do.
template <class C>
struct Climb {
  Climb(StudyRung<StudyGemm<C>> rung, const Sizes& s, bool count)
      : products(std::int64_t{s.m} * s.n * s.k),
        device(Target{.kind = DeviceKind::emu, .alignment = 256, .sm = 90, .redzone = 256}) {
    device.memory().poison_new_blocks(true);
    const auto a = random_tensor<bf16, Emu>({s.m, s.k}, 1, -1, 1, device);
    const auto b = random_tensor<bf16, Emu>({s.k, s.n}, 2, -1, 1, device);
    const auto c = Tensor<C, Emu>::empty(device, {s.m, s.n});
    emulator::Settings settings = emulator::settings();
    settings.count_requests = count;
    const emulator::WithSettings scope(settings);
    emulator::counters() = {};
    rung(device,
         {rows_of(a.template in<2>()), rows_of(b.template in<2>()), rows_of(c.template view<2>()), s.m, s.n, s.k});
    counted = emulator::counters();
    got = doubles(c);
    left = doubles(a);
    right = doubles(b);
  }

  std::vector<double> wanted(const Sizes& s) const {
    std::vector<double> c(static_cast<std::size_t>(s.m) * static_cast<std::size_t>(s.n), 0);
    const auto m = static_cast<std::size_t>(s.m), n = static_cast<std::size_t>(s.n),
               depth = static_cast<std::size_t>(s.k);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t k = 0; k < depth; ++k)
        for (std::size_t j = 0; j < n; ++j) c[i * n + j] += left[i * depth + k] * right[k * n + j];
    return c;
  }
  /// A count for each multiplication.
  double each(std::int64_t count) const { return static_cast<double>(count) / static_cast<double>(products); }

  std::int64_t products;
  Emu device;
  std::vector<double> got, left, right;
  emulator::Counters counted;
};

constexpr auto rungs = gemm_rungs<float>;
constexpr int rung_count = sizeof(gemm_rungs<float>) / sizeof(*rungs);

}  // namespace

TEST_CASE("study: every rung of GEMM is right, in every order of threads") {
  for (int i = 0; i < rung_count; ++i) {
    CAPTURE(i + 1);
    // Several blocks both ways; more steps than the last rung has buffers.
    const Sizes sizes = i < 3 ? Sizes{64, 64, 32} : i < 6 ? Sizes{128, 64, 64 * 4} : Sizes{64, 256, 64 * 5};
    std::vector<double> want;
    const auto got = in_every_order<Emu>([&] {
      const Climb<float> climb(rungs[i], sizes, false);
      want = climb.wanted(sizes);
      return climb.got;
    });
    CHECK(near<float>(got, want, "c"));
  }
}

TEST_CASE("study: GEMM's rungs write bf16 too") {
  constexpr Sizes sizes{64, 128, 64};
  for (int i = 2; i < rung_count; ++i) {
    const Climb<bf16> climb(gemm_rungs<bf16>[i], sizes, false);
    CHECK(near<bf16>(climb.got, climb.wanted(sizes), "c"));
  }
}

TEST_CASE("study: the first two rungs of GEMM take any size") {
  constexpr Sizes sizes{33, 9, 5};
  for (int i = 0; i < 2; ++i) {
    const Climb<float> climb(rungs[i], sizes, false);
    CHECK(near<float>(climb.got, climb.wanted(sizes), "c"));
  }
}

TEST_CASE("study: memory of GEMM's rungs 1 to 4 is what their comments predict") {
  const Climb<float> naive(rungs[0], {32, 32, 32}, true), coalesced(rungs[1], {32, 32, 32}, true),
      tile(rungs[2], {32, 32, 32}, true), registers(rungs[3], {64, 64, 64}, true);
  // A warp makes 32 multiplications for 33 sectors, or for 3.
  CHECK(naive.each(naive.counted.global_load_sectors) * 32 == 33);
  CHECK(coalesced.each(coalesced.counted.global_load_sectors) * 32 == 3);
  CHECK(naive.counted.global_store_sectors == 8 * coalesced.counted.global_store_sectors);
  CHECK(coalesced.counted.global_store_bytes == 32 * coalesced.counted.global_store_sectors);

  CHECK(coalesced.counted.global_load_bytes == naive.counted.global_load_bytes);
  CHECK(coalesced.counted.global_load_bytes == 32 * tile.counted.global_load_bytes);
  CHECK(tile.counted.barriers == 2);
  CHECK(tile.each(tile.counted.shared_load_bytes) == 4);

  CHECK(tile.each(tile.counted.global_load_bytes) == 2 * registers.each(registers.counted.global_load_bytes));
  CHECK(tile.each(tile.counted.global_load_requests) == 16 * registers.each(registers.counted.global_load_requests));
  CHECK(registers.each(registers.counted.shared_load_bytes) == 1);
  CHECK(registers.counted.shared_bank_conflicts == 0);
  CHECK(tile.counted.shared_bank_conflicts == 0);
}

TEST_CASE("study: tensor cores, copies and tiles of GEMM's rungs 5 to 7 are what their comments predict") {
  constexpr Sizes sizes{64, 64, 128}, wide{64, 128, 128};
  const Climb<float> registers(rungs[3], sizes, true), cores(rungs[4], sizes, true), async(rungs[5], sizes, true),
      hopper(rungs[6], wide, true);
  for (const auto* climb : {&cores, &async, &hopper}) CHECK(climb->counted.mma_flops == 2 * climb->products);
  CHECK(cores.counted.global_load_bytes == registers.counted.global_load_bytes);
  CHECK(cores.counted.global_load_requests == registers.counted.global_load_requests);
  CHECK(8 * cores.counted.shared_load_bytes == registers.counted.shared_load_bytes);

  CHECK(async.counted.global_load_bytes == 0);
  CHECK(async.counted.async_copy_bytes == cores.counted.global_load_bytes);
  CHECK(async.counted.shared_bank_conflicts == 0);
  CHECK(2 * async.counted.barriers == cores.counted.barriers);
  CHECK(async.got == cores.got);

  CHECK(hopper.counted.global_load_bytes == 0);
  CHECK(hopper.counted.shared_store_bytes == hopper.counted.async_copy_bytes);  // by TMA alone
  CHECK(hopper.each(hopper.counted.shared_load_bytes) == 3.0 / 64);
  CHECK(3 * async.each(async.counted.shared_load_bytes) == 8 * hopper.each(hopper.counted.shared_load_bytes));
  CHECK(16 * hopper.each(hopper.counted.collectives) < async.each(async.counted.collectives));
}

TEST_CASE("study: a card without wgmma is told so") {
  auto device = poisoned_device<Emu>();  // sm_80
  CHECK_THROWS_WITH_AS(gemm_07(device, StudyGemm<float>{}),
                       "[study] gemm_07 needs wgmma (sm_90a); this device is sm_80", Error);
}
