// wgmma: products by a warpgroup of 128 threads, factors in shared memory by matrix descriptors, run asynchronously
// (PTX "wgmma.mma_async", "Matrix Descriptor Format", "Canonical Layouts"). Strict: from the issue to the wait
// accumulators hold poison; factors are read at the wait, so whoever overwrites them before gets wrong sums.
#pragma once

#include <hone/core/tile_geometry.hpp>
#include <hone/emu/barriers.hpp>
#include <hone/emu/tensor_core.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace hone::emulator {

/// The layout of a factor in shared memory, as the 64 bits of a matrix descriptor hold it.
struct MatrixDescriptor {
  std::uint32_t start, leading, stride;  ///< bytes; start is an offset in the block's shared memory
  Swizzle swizzle;

  /// Where element (mn, k) lies; mn is a row of a or a column of b. `k_major`: neighbours in k are neighbours in
  /// memory.
  std::uint32_t offset(std::uint32_t mn, std::uint32_t k, bool k_major) const {
    const bool plain = swizzle == Swizzle::none;
    const auto span = plain ? 16u : static_cast<std::uint32_t>(span_bytes(swizzle)), wide = span / 2;
    std::uint32_t at = 0;
    if (k_major)
      at = mn / 8 * stride + mn % 8 * span + (plain ? k / 8 * leading + k % 8 * 2 : k * 2);
    else if (plain)
      at = mn / 8 * stride + mn % 8 * 2 + k / 8 * leading + k % 8 * 16;
    else
      at = mn / wide * leading + mn % wide * 2 + k / 8 * stride + k % 8 * span;
    return swizzled(start + at, swizzle);
  }
};

namespace detail {

// Bits 0-13 start, 16-29 leading, 32-45 stride, all in units of 16 bytes; 62-63 the swizzle: 1 for 128 bytes, 2 for 64,
// 3 for 32.
inline std::uint64_t encode(const MatrixDescriptor& d) {
  const std::uint64_t mode = d.swizzle == Swizzle::none ? 0 : 4 - static_cast<std::uint64_t>(d.swizzle);
  return std::uint64_t{d.start >> 4} | std::uint64_t{d.leading >> 4} << 16 | std::uint64_t{d.stride >> 4} << 32 |
         mode << 62;
}
inline MatrixDescriptor decode(std::uint64_t bits) {
  const auto bytes = [&](int at) { return static_cast<std::uint32_t>((bits >> at) & 0x3fffu) << 4; };
  const auto mode = static_cast<std::uint8_t>(bits >> 62);
  return {bytes(0), bytes(16), bytes(32), mode == 0 ? Swizzle::none : static_cast<Swizzle>(4 - mode)};
}

/// One of the two factors, or a's registers.
struct Factor {
  MatrixDescriptor at;
  bool k_major;

  float value(const std::byte* shared, int mn, int k) const {
    std::uint16_t bits = 0;
    const auto offset = at.offset(static_cast<std::uint32_t>(mn), static_cast<std::uint32_t>(k), k_major);
    std::memcpy(&bits, shared + offset, sizeof(bits));
    return bf16::from_bits(bits);
  }
  /// Every piece of it lies in shared memory and was written before a fence.
  void check(Block& block, int extent, const Where& where) const {
    std::byte* shared = block.shared(0, where);
    for (int mn = 0; mn < extent; mn += k_major ? 1 : 8) {
      for (int k = 0; k < 16; k += k_major ? 8 : 1) {
        const auto offset = at.offset(static_cast<std::uint32_t>(mn), static_cast<std::uint32_t>(k), k_major);
        if (!block.is_shared(shared + offset) || !block.is_shared(shared + offset + 15))
          block.fail_here("wgmma {}: element ({}, {}) of a factor lies {} bytes into shared memory, past its end",
                          to_string(where), mn, k, offset);
        check_fenced(block, "wgmma", shared + offset, 16, where);
      }
    }
  }
};

/// One lane's part of a product: rows g and g + 8 of the warp's 16, two neighbouring columns of every eight.
struct Wgmma {
  Block* block;
  float* d;
  int n;
  const std::uint32_t* a_registers;  // 4, or null: a is in shared memory
  Factor a, b;
  bool accumulate;
  Where where;
  int thread = 0;
  std::array<std::array<float, 16>, 2> rows{};  // of a, where it comes from registers

  static void resolve(Wgmma* const* lanes, std::uint32_t) {
    const Wgmma& first = *lanes[0];
    for (int l = 0; l < warp_size; ++l)
      if (encode(lanes[l]->b.at) != encode(first.b.at) || encode(lanes[l]->a.at) != encode(first.a.at))
        first.block->fail_here("wgmma {}: lane {} brings other descriptors than lane 0", to_string(first.where), l);
    first.b.check(*first.block, first.n, first.where);
    if (first.a_registers == nullptr) return first.a.check(*first.block, 64, first.where);
    for (int l = 0; l < warp_size; ++l)
      for (int t = 0; t < 4; ++t)
        for (int r = 0; r < 4; ++r)
          for (int i = 0; i < 2; ++i)
            lanes[l]->rows[static_cast<std::size_t>(r % 2)][static_cast<std::size_t>(t * 2 + r / 2 * 8 + i)] =
                half_of<bf16>(lanes[l / 4 * 4 + t]->a_registers[r], i);
  }

  void land(Accumulators& sums) const {
    const std::byte* shared = block->shared(0, where);
    const int lane = thread % warp_size, row = thread / warp_size % 4 * 16 + lane / 4;
    for (int i = 0; i < n / 2; ++i) {
      const int upper = i % 4 / 2, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      float sum = 0;
      for (int k = 0; k < 16; ++k) {
        const float left = a_registers != nullptr ? rows[static_cast<std::size_t>(upper)][static_cast<std::size_t>(k)]
                                                  : a.value(shared, row + upper * 8, k);
        sum += left * b.value(shared, column, k);
      }
      float& value = sums.values[static_cast<std::size_t>(i)];
      value = accumulate ? value + sum : sum;
    }
    if (--sums.products > 0) return;
    for (int i = 0; i < n / 2; ++i) {
      if (std::bit_cast<std::uint32_t>(d[i]) != 0xffffffffu)
        block->fail_here("wgmma {}: accumulator {} was written while the product was under way", to_string(where), i);
      d[i] = sums.values[static_cast<std::size_t>(i)];
    }
  }
};

struct WgmmaWait {
  AsyncState* state;
  int may_stay;

  static void resolve(WgmmaWait* const* lanes, std::uint32_t) {
    for (int l = 0; l < warp_size; ++l) {
      lanes[l]->state->products.wait(lanes[l]->may_stay);
      lanes[l]->state->wgmma_fenced = false;
    }
  }
};

inline void issue_wgmma(Wgmma wgmma) {
  Block& block = *wgmma.block;
  if (block.thread_number() / 128 * 128 + 128 > block.thread_count())
    block.fail_here("wgmma {}: called outside the whole warpgroups of 128 of a block of {} threads",
                    to_string(wgmma.where), block.thread_count());
  AsyncState& state = block.async();
  if (!state.wgmma_fenced)
    block.fail_here("wgmma {}: no wgmma_fence() since this thread last had its registers to itself",
                    to_string(wgmma.where));
  wgmma.thread = block.thread_number();
  together("wgmma", full_mask, wgmma, wgmma.where);
  const auto count = static_cast<std::size_t>(wgmma.n / 2);
  Accumulators& sums = state.accumulators[wgmma.d];
  if (sums.products == 0) sums.values.assign(wgmma.d, wgmma.d + count);
  ++sums.products;
  std::memset(wgmma.d, poison_byte, count * sizeof(float));
  ++state.wgmmas;
  block.counters().mma_flops += 2 * 64 * 16 * wgmma.n / 128;
  block.counters().shared_load_bytes += (wgmma.a_registers == nullptr ? 64 + wgmma.n : wgmma.n) * 32 / 128;
  state.products.issue([wgmma, &sums] { wgmma.land(sums); });
}

}  // namespace detail

/// The descriptor of a factor that starts at `at`; what leading and stride are depends on the layout (see
/// MatrixDescriptor::offset).
inline std::uint64_t wgmma_descriptor(const void* at, std::uint32_t leading, std::uint32_t stride, Swizzle swizzle,
                                      Where where = Where::here()) {
  Block& block = this_block(where);
  check_aligned(at, 16, "wgmma_descriptor", where);
  if (!block.is_shared(at)) block.fail_here("wgmma_descriptor {}: not in shared memory", to_string(where));
  const auto start = static_cast<std::uint32_t>(static_cast<const std::byte*>(at) - block.shared(0, where));
  return detail::encode({start, leading, stride, swizzle});
}

/// wgmma.fence: before the first product, and whenever the thread has touched accumulators or factors in registers.
inline void wgmma_fence(Where where = Where::here()) { this_block(where).async().wgmma_fenced = true; }

/// wgmma.mma_async m64nNk16, f32 += bf16 * bf16; a (64, 16) and b (16, N) in shared memory. A transposed factor lies
/// with rows of a, or columns of b, next to each other.
template <int N, bool TransposeA, bool TransposeB>
void wgmma(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate, Where where = Where::here()) {
  detail::issue_wgmma({&this_block(where),
                       d,
                       N,
                       nullptr,
                       {detail::decode(a), !TransposeA},
                       {detail::decode(b), !TransposeB},
                       accumulate,
                       where});
}

/// The same with a in registers, in the fragments of mma m16n8k16 for each warp's 16 rows.
template <int N, bool TransposeB>
void wgmma(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate,
           Where where = Where::here()) {
  detail::issue_wgmma({&this_block(where), d, N, a, {}, {detail::decode(b), !TransposeB}, accumulate, where});
}

inline void wgmma_commit(Where where = Where::here()) { this_block(where).async().products.commit(); }

/// wgmma.wait_group: by whole warps; lands all but the newest `may_stay` groups.
inline void wgmma_wait(int may_stay, Where where = Where::here()) {
  AsyncState& state = this_block(where).async();
  if (state.products.uncommitted())
    this_block(where).fail_here("wgmma_wait {}: products were issued after the last wgmma_commit()", to_string(where));
  detail::WgmmaWait lane{&state, may_stay};
  detail::together("wgmma_wait", full_mask, lane, where);
}

/// Before accumulators are used: their products must have landed.
inline void wgmma_settle(float* d, Where where = Where::here()) {
  Block& block = this_block(where);
  const auto& known = block.async().accumulators;
  if (const auto found = known.find(d); found != known.end() && found->second.products > 0)
    block.fail_here("wgmma_settle {}: {} products into these accumulators are under way", to_string(where),
                    found->second.products);
}

/// setmaxnreg: the warp goes on with `count` registers a thread. How all were dealt is looked at when the block ends.
inline void deal_registers(int count, Where where = Where::here()) {
  warp_barrier(full_mask, where);
  this_block(where).async().registers = count;
}

}  // namespace hone::emulator
