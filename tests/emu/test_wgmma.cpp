#include "lambda_kernel.hpp"

#include <hone/emu/wgmma.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

using namespace hone::emulator;
using hone::bf16;
using hone::Swizzle;
using hone::test::contains;
using hone::test::emulate;
using hone::test::error_of;

namespace {

constexpr int n = 64, depth = 32;  // two products of 16 along k

struct alignas(1024) Shared {
  bf16 a[64 * 64], b[64 * 64];
};

Shared& shared() { return *reinterpret_cast<Shared*>(this_block(Where::here()).shared(sizeof(Shared), Where::here())); }

/// Small integers, whose products and sums are exact.
float element(int i, int j, int salt) { return static_cast<float>((i * 7 + j * 5 + salt * 3) % 17 - 8); }

/// How a factor (64, depth) lies in shared memory, written out from the tables of canonical layouts.
struct Layout {
  Swizzle swizzle;
  bool transposed;

  std::uint32_t offset(int mn, int k) const {
    const int span = swizzle == Swizzle::none ? 16 : 16 << static_cast<int>(swizzle);
    const int across = transposed ? mn : k, along = transposed ? k : mn, per_span = span / 2;
    // Spans of `across`, each a column of rows `along`.
    const int at = (across / per_span * 64 + along) * span + across % per_span * 2;
    return hone::swizzled(static_cast<std::uint32_t>(at), swizzle);
  }
  /// Of the 16 elements of k from `k`.
  std::uint64_t descriptor(const bf16* base, int k) const {
    const auto* bytes = reinterpret_cast<const std::byte*>(base);
    const auto span = swizzle == Swizzle::none ? 16u : 16u << static_cast<unsigned>(swizzle);
    const auto per_span = static_cast<int>(span / 2);
    const std::uint32_t next_span = 64 * span, eight_rows = 8 * span;
    if (transposed) {
      const std::uint32_t leading = swizzle == Swizzle::none ? eight_rows : next_span;
      const std::uint32_t stride = swizzle == Swizzle::none ? next_span : eight_rows;
      return wgmma_descriptor(bytes + static_cast<std::uint32_t>(k) * span, leading, stride, swizzle);
    }
    const auto start =
        static_cast<std::uint32_t>(k / per_span) * next_span + static_cast<std::uint32_t>(k % per_span * 2);
    return wgmma_descriptor(bytes + start, next_span, eight_rows, swizzle);
  }
  void fill(bf16* base, int salt) const {
    for (int i = static_cast<int>(threadIdx.x); i < 64 * depth; i += 128) {
      const bf16 value = element(i / depth, i % depth, salt);
      write(reinterpret_cast<std::byte*>(base) + offset(i / depth, i % depth), &value, sizeof(value), Where::here());
    }
  }
};

template <bool TransposeA, bool TransposeB>
void check_product(Swizzle swizzle, bool a_in_registers) {
  const Layout of_a{swizzle, TransposeA}, of_b{swizzle, TransposeB};
  std::vector<float> out(64 * n, 0);
  emulate({.grid = {1}, .block = {128}, .shared_bytes = sizeof(Shared)}, [&] {
    Shared& s = shared();
    of_a.fill(s.a, 1);
    of_b.fill(s.b, 2);
    async_proxy_fence();
    block_barrier();
    const int t = static_cast<int>(threadIdx.x), lane = t % 32, row = t / 32 * 16 + lane / 4;
    float d[n / 2];
    for (int i = 0; i < n / 2; ++i) d[i] = 100;
    wgmma_fence();
    for (int k = 0; k < depth; k += 16) {
      if (a_in_registers) {
        std::uint32_t a[4];
        for (int r = 0; r < 4; ++r) {
          const int col = k + lane % 4 * 2 + r / 2 * 8;
          a[r] = bf16(element(row + r % 2 * 8, col, 1)).bits |
                 std::uint32_t{bf16(element(row + r % 2 * 8, col + 1, 1)).bits} << 16;
        }
        wgmma<n, TransposeB>(d, a, of_b.descriptor(s.b, k), k > 0);
      } else {
        wgmma<n, TransposeA, TransposeB>(d, of_a.descriptor(s.a, k), of_b.descriptor(s.b, k), k > 0);
      }
    }
    CHECK(std::isnan(d[3]));  // under way
    wgmma_commit();
    wgmma_wait(0);
    for (int i = 0; i < n / 2; ++i)
      out[static_cast<std::size_t>((row + i % 4 / 2 * 8) * n + i / 4 * 8 + lane % 4 * 2 + i % 2)] = d[i];
  });
  int wrong = 0;
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < n; ++j) {
      float want = 0;
      for (int k = 0; k < depth; ++k) want += element(i, k, 1) * element(j, k, 2);
      wrong += out[static_cast<std::size_t>(i * n + j)] == want ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

/// The text of a block in which both factors are ready and fenced.
template <class F>
std::string text_of(F&& body, bool fenced = true) {
  return error_of([&] {
    emulate({.grid = {1}, .block = {128}, .shared_bytes = sizeof(Shared)}, [&] {
      const Layout layout{Swizzle::b128, false};
      layout.fill(shared().a, 1);
      layout.fill(shared().b, 2);
      if (fenced) async_proxy_fence();
      block_barrier();
      float d[n / 2] = {};
      body(d, layout.descriptor(shared().a, 0), layout.descriptor(shared().b, 0));
    });
  });
}

}  // namespace

TEST_CASE("wgmma is exact on integers in every layout of its factors") {
  for (const Swizzle swizzle : {Swizzle::none, Swizzle::b32, Swizzle::b64, Swizzle::b128}) {
    CAPTURE(static_cast<int>(swizzle));
    check_product<false, false>(swizzle, false);
    check_product<true, true>(swizzle, false);
    check_product<false, true>(swizzle, true);
  }
}

TEST_CASE("factors are read at the wait: overwriting them before shows") {
  float got = 0;
  emulate({.grid = {1}, .block = {128}, .shared_bytes = sizeof(Shared)}, [&] {
    const Layout layout{Swizzle::b128, false};
    layout.fill(shared().a, 1);
    layout.fill(shared().b, 2);
    async_proxy_fence();
    block_barrier();
    float d[n / 2] = {};
    wgmma_fence();
    wgmma<n, false, false>(d, layout.descriptor(shared().a, 0), layout.descriptor(shared().b, 0), false);
    wgmma_commit();
    if (threadIdx.x == 0) std::memset(static_cast<void*>(&shared()), 0, sizeof(Shared));
    block_barrier();
    wgmma_wait(0);
    if (threadIdx.x == 0) got = d[0];
  });
  CHECK(got == 0);
}

TEST_CASE("misuse of wgmma is an error that names it") {
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto b) { wgmma<n, false, false>(d, a, b, false); }),
                 "no wgmma_fence() since this thread last had its registers to itself"));
  CHECK(contains(text_of(
                     [](float(&d)[n / 2], auto a, auto b) {
                       wgmma_fence();
                       wgmma<n, false, false>(d, a, b, false);
                     },
                     false),
                 "has not called async_proxy_fence() since"));
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto b) {
                   wgmma_fence();
                   wgmma<n, false, false>(d, a, b, false);
                   wgmma_wait(0);
                 }),
                 "products were issued after the last wgmma_commit()"));
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto b) {
                   wgmma_fence();
                   wgmma<n, false, false>(d, a, b, false);
                   wgmma_commit();
                 }),
                 "ends while wgmma that it did not wait for is under way"));
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto b) {
                   wgmma_fence();
                   wgmma<n, false, false>(d, a, b, false);
                   wgmma_commit();
                   d[1] = 0;
                   wgmma_wait(0);
                 }),
                 "accumulator 1 was written while the product was under way"));
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto b) {
                   wgmma_fence();
                   wgmma<n, false, false>(d, a, b, false);
                   wgmma_commit();
                   wgmma_settle(d);
                   wgmma_wait(0);
                 }),
                 "1 products into these accumulators are under way"));
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto b) {
                   if (threadIdx.x >= 96) return;
                   wgmma_fence();
                   wgmma<n, false, false>(d, a, b, false);
                   wgmma_commit();
                   wgmma_wait(0);
                 }),
                 "warp 3 of a warpgroup at 0 wgmma and warp 0 at 1: all four issue the same"));
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto b) {
                   wgmma_fence();
                   wgmma<n, false, false>(d, threadIdx.x == 3 ? b : a, b, false);
                 }),
                 "brings other descriptors than lane 0"));
  CHECK(contains(text_of([](float(&d)[n / 2], auto a, auto) {
                   wgmma_fence();
                   wgmma<n, false, false>(d, a, wgmma_descriptor(shared().b, 0, 4096, Swizzle::b128), false);
                 }),
                 "bytes into shared memory, past its end"));
}

TEST_CASE("registers are dealt out by warpgroups, and no more than there are") {
  const auto deal = [](auto&& registers_of) {
    return error_of(
        [&] { emulate({.grid = {1}, .block = {384}}, [&] { deal_registers(registers_of(threadIdx.x)); }); });
  };
  CHECK(deal([](unsigned i) { return i < 128 ? 24 : 240; }).empty());  // 64512 of 65536
  CHECK(contains(deal([](unsigned i) { return i < 128 ? 40 : 240; }),
                 "66560 registers dealt out, of the 64512 that 384 threads have: a card would wait for ever"));
  CHECK(contains(deal([](unsigned i) { return i < 160 ? 24 : 240; }),
                 "threads of one warpgroup with 240 and 24 registers: all call with the same"));
}
