// Attention's kernels for sm_90a: the same formulas as the other kernels, and when they are chosen.
#include "attention_problem.hpp"
#include "faults.hpp"

using namespace hone;
using namespace hone::test;

namespace {

/// Names of the kernels that `body` launches, one after the other.
template <class F>
std::string launched(F&& body) {
  const emulator::WithSettings settings({.keep_launches = true});
  emulator::launch_records().clear();
  body();
  std::string names;
  for (const auto& record : emulator::launch_records()) names += (names.empty() ? "" : " ") + record.kernel;
  return names;
}

}  // namespace

TEST_CASE("attention by wgmma follows the formulas") {
  const std::vector<Problem> problems = {
      {2, 1, 64, 0, {{200, 200}}},                           // two blocks of 192 queries
      {1, 1, 64, 0, {{64, 200}, {30, 30}}},                  // queries of which half see only the second tile of keys
      {2, 2, 96, 20, {{70, 70}, {1, 1}, {30, 30}}},          // a window, and tiles that three documents share
      {2, 1, 128, 0, {{3, 3}, {0, 0}, {137, 137}, {0, 0}}},  // empty documents, and a tile of a few queries
      {1, 1, 128, 40, {{1, 150}, {0, 12}, {80, 141}}},       // cached keys, some outside every window
      {1, 1, 64, 0, {{70, 70}, {0, 190}}},                   // a block of keys that nobody sees
  };
  for (const Problem& p : problems) check_problem<bf16, Emu>(p, 8, 90);
}

TEST_CASE("attention takes wgmma where the card has it and the queries are worth it") {
  const auto names = [](const Problem& p, int sm, std::int64_t edge = 8) {
    const Tensors<bf16, Emu> t(p, edge, sm);
    return launched([&] {
      t.forward();
      t.backward(false);
    });
  };
  const std::string before = "attention_forward attention_delta attention_dkv attention_dq";
  const std::string plain = "attention_plain_forward attention_delta attention_plain_dkv attention_plain_dq";
  const Problem p(1, 1, 64, 0, {{65, 65}}), few(1, 1, 64, 0, {{64, 64}}), odd(1, 1, 80, 0, {{65, 65}});
  CHECK(names(p, 90) == "attention_forward_wgmma attention_delta attention_dkv_wgmma attention_dq_wgmma");
  for (const int sm : {80, 89, 100, 120}) CHECK(names(p, sm) == before);
  CHECK(names(few, 90) == before);
  CHECK(names(odd, 90) == plain);
  CHECK(names(p, 90, 3) == plain);
}

TEST_CASE("a program that was compiled for sm_90 and not for sm_90a does without wgmma") {
  const gpu::Driver before = gpu::emulated_driver();
  gpu::emulated_driver().most_threads = [](int* most, const void*) {
    *most = 1;
    return 0;
  };
  const Tensors<bf16, Emu> t({1, 1, 64, 0, {{65, 65}}}, 8, 90);
  const std::string names = launched([&] { t.forward(); });
  gpu::emulated_driver() = before;
  CHECK(names == "attention_forward");
}

TEST_CASE("a launch that takes more shared memory than its card gives a block is refused") {
  const Tensors<bf16, Emu> t({1, 1, 128, 0, {{65, 65}}});
  auto device = t.device;
  const AttentionForwardArgs<bf16> args{
      .problem = kernel_detail::attention_problem(t.p.shape, t.q.in<2>(), t.k.in<2>(), t.cu_q.in<1>(), t.cu_k.in<1>()),
      .q = rows_of(t.q.in<2>()),
      .k = rows_of(t.k.in<2>()),
      .v = rows_of(t.v.in<2>()),
      .out = rows_of(t.out.view<2>()),
      .lse = nullptr,
      .lse_stride = 0};
  CHECK_THROWS_WITH_AS(kernel_detail::attention_forward_wgmma<128>(device, args),
                       "[cuda] attention_forward_wgmma: 167936 bytes of shared memory, sm_80 gives a block 166912",
                       Error);
}

TEST_CASE("attention by wgmma: every call to the driver that fails is an error") {
  const Problem p(1, 1, 64, 0, {{65, 65}});
  const Tensors<bf16, Emu> t(p, 8, 90);
  const auto scratch = t.workspace(Tag<kernel::AttentionBackward>{});
  const auto step = [&] {
    run_kernel<kernel::AttentionForward>(t.device, p.shape, t.q.in<2>(), t.k.in<2>(), t.v.in<2>(), t.cu_q.in<1>(),
                                         t.cu_k.in<1>(), t.out.view<2>(), t.lse.view<2>(), View<std::byte, 1>{});
    run_kernel<kernel::AttentionBackward>(t.device, p.shape, t.dout.in<2>(), t.q.in<2>(), t.k.in<2>(), t.v.in<2>(),
                                          t.out.in<2>(), t.lse.in<2>(), t.cu_q.in<1>(), t.cu_k.in<1>(), t.dq.view<2>(),
                                          t.dk.view<2>(), t.dv.view<2>(), false, scratch.view<1>());
  };
  std::int64_t calls = 0;
  {
    const Faults none(-1);
    step();
    calls = Faults::calls();
  }
  CHECK(calls == 3 * 6 + 1);  // three kernels: is it there, four maps, the launch; and one without maps
  for (std::int64_t n = 0; n < calls; ++n) {
    const Faults faults(n);
    CHECK_THROWS_WITH_AS(step(), doctest::Contains("a call that the test made fail"), Error);
  }
}

TEST_CASE("attention by wgmma: gradients add to what is there; absent ones are left alone") {
  check_accumulation<bf16, Emu>({2, 1, 64, 0, {{66, 70}}}, 90);
}

TEST_CASE("attention by wgmma: work and traffic") {
  const Problem p(1, 1, 64, 0, {{300, 300}});
  Tensors<bf16, Emu> t(p, 8, 90);
  const emulator::WithSettings settings({.count_requests = true});
  emulator::counters() = {};
  t.forward();
  const emulator::Counters& counted = emulator::counters();
  constexpr std::int64_t product = 2 * 64 * 128 * 64;  // of 64 rows, 128 positions and 64 columns, in FLOPs
  // Groups of 64 queries see 1, 1 and 2 tiles of keys in the first block; 2 and 3 in the second, which has two groups.
  CHECK(counted.mma_flops == 2 * (1 + 1 + 2 + 2 + 3) * product);
  // Queries once; keys and values, two tiles and all 300: nothing past their end.
  CHECK(counted.async_copy_bytes == (300 + 2 * (256 + 300)) * 64 * 2);
  CHECK(counted.global_store_bytes == 300 * (64 * 2 + 4));  // out and lse
  CHECK(counted.shared_bank_conflicts == 0);
  emulator::counters() = {};
  t.backward(false);
  constexpr std::int64_t square = 2 * 64 * 64 * 64;
  // Of 64 keys and 64 queries 15 pairs are seen, as keys 5 + 4 + 3 + 2 + 1: four products for dk and dv, three for dq.
  CHECK(counted.mma_flops == 15 * 7 * square);
  // By keys: k and v once, q and dout from the block's first key on; by queries: q and dout once, k and v up to the
  // block's last query, or the end of its tile.
  CHECK(counted.async_copy_bytes == 2 * ((300 + 300 + 172 + 44) + (300 + 128 + 256 + 300)) * 64 * 2);
  CHECK(counted.shared_bank_conflicts == 0);
}

TEST_CASE("attention by wgmma writes its columns only, and no lse where none is wanted") {
  const Problem p(2, 1, 64, 0, {{70, 70}});
  Tensors<bf16, Emu> t(p, 8, 90);
  t.forward();
  const Values with_lse = doubles(t.out);
  const auto wide = random_tensor<bf16, Emu>({p.nq(), p.q_columns() + 16}, 5, -1, 1, t.device);
  const Values before = doubles(wide);
  t.out = wide.columns(8, p.q_columns());
  t.forward(false);
  CHECK(doubles(t.out) == with_lse);
  const Values after = doubles(wide);
  const auto width = static_cast<std::size_t>(p.q_columns()) + 16;
  for (std::size_t i = 0; i < after.size(); ++i)
    if (i % width < 8 || i % width >= width - 8) CHECK(after[i] == before[i]);
}
