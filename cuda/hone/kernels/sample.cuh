// The next token, chosen where its logits are (tensor/sampling_rule.hpp has the rule): one number is read back, not a
// row of the vocabulary's length. One block walks the row. Sorting is not needed: "the largest k", "the fewest whose
// weights reach p" and "the one at this point of the sum" are each a place in the sorted order that is found digit by
// digit, by counting what has which digit (a radix select). All sums are of integers, so no order shows in them.
#pragma once

#include <hone/device/launch.cuh>
#include <hone/prim/atomic.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/sampling_rule.hpp>

#include <type_traits>

namespace hone {

namespace kernel {
struct Sample;
}

inline namespace HONE_TARGET {

// ---- kernels ----

inline constexpr int sample_threads = 1024, sample_digit_bits = 8, sample_bins = 1 << sample_digit_bits;

using WideSum = unsigned long long;  // what atomics add

struct SampleArgs {
  const float* logits;  // (V)
  std::uint8_t* seen;   // (V)
  std::int32_t* id;     // (1)
  std::int64_t count;   // V
  SamplingRule rule;
  std::uint32_t chance;  // sampling_bits(rule), formed on the host: Philox would keep its words on the stack
};

struct SampleShared {
  WideSum of_warp[sample_threads / warp_lanes];
  WideSum bins[sample_bins];
  WideSum before;  // what lies before `bin`, the digit found last
  int bin;
};

/// combine over the values of all threads of the block, told to all of them.
template <class Combine>
__device__ WideSum sample_reduce(WideSum value, SampleShared& shared, Combine combine) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) value = combine(value, warp_xor(value, offset));
  if (lane_index() == 0) shared.of_warp[warp_index()] = value;
  __syncthreads();
  value = shared.of_warp[lane_index()];
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) value = combine(value, warp_xor(value, offset));
  __syncthreads();  // of_warp may be written again
  return value;
}

struct SampleSum {
  __device__ WideSum operator()(WideSum a, WideSum b) const { return a + b; }
};
struct SampleLargest {
  __device__ WideSum operator()(WideSum a, WideSum b) const { return a > b ? a : b; }
};

/// visit(token, logit) for this thread's share of the row, penalties applied.
template <int V, class Visit>
__device__ void for_logits(const SampleArgs& args, const Visit& visit) {
  const float penalty = args.rule.repetition_penalty;
  for (std::int64_t first = std::int64_t{threadIdx.x} * V; first < args.count; first += sample_threads * V) {
    const auto logits = load<V>(args.logits + first);
    HONE_UNROLL
    for (int i = 0; i < V; ++i) {
      const bool again = penalty != 1 && load(args.seen + first + i) != 0;
      visit(static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(i),
            again ? penalised(logits[i], penalty) : logits[i]);
    }
  }
}

/// A place in an order: `position`, and how much lies before it.
struct SamplePlace {
  bool found;
  std::uint32_t position;
  WideSum before;
};

/// What a token brings to a search: where it stands and how much it counts for, 0 when it is out of the question.
struct SampleItem {
  std::uint32_t position, measure;
};

/// The position at which the measures, summed from position 0 on, reach `target`, which is at least 1. Positions have
/// `bits` bits. Not found where the whole sum is less.
template <int V, class Item>
__device__ SamplePlace sample_find(const SampleArgs& args, SampleShared& shared, int bits, WideSum target,
                                   const Item& item) {
  SamplePlace place{true, 0, 0};
  const int me = thread_index();
  while (bits > 0 && place.found) {
    const int width = bits < sample_digit_bits ? bits : sample_digit_bits, shift = bits - width;
    if (me < sample_bins) shared.bins[me] = 0;
    if (me == 0) shared.bin = -1;
    __syncthreads();
    for_logits<V>(args, [&](std::uint32_t token, float logit) {
      const SampleItem one = item(token, logit);
      const std::uint64_t position = one.position;
      if (one.measure != 0 && position >> bits == place.position)
        atomic_add(&shared.bins[position >> shift & (sample_bins - 1u)], one.measure);
    });
    __syncthreads();
    if (me < sample_bins) {
      WideSum before = place.before;
      for (int bin = 0; bin < me; ++bin) before += shared.bins[bin];
      if (before < target && target <= before + shared.bins[me]) {
        shared.before = before;
        shared.bin = me;
      }
    }
    __syncthreads();
    place.found = shared.bin >= 0;
    if (place.found) {
      place.before = shared.before;
      place.position = place.position << width | static_cast<std::uint32_t>(shared.bin);
    }
    bits = shift;
    __syncthreads();  // what was found is read
  }
  return place;
}

/// Bits that numbers up to `largest` take, at least 1: a search takes a step even where it has no choice, and sees
/// whether there is enough.
__device__ inline int bits_for(std::uint32_t largest) {
  int bits = 1;
  while (bits < 32 && largest >> bits != 0) ++bits;
  return bits;
}

/// Of the tokens on their way down from the largest logit, the one at which the rule's draw points.
template <int V>
__device__ std::uint32_t sample_drawn(const SampleArgs& args, SampleShared& shared, std::uint32_t best,
                                      std::uint32_t top_key, float top) {
  const SamplingRule& rule = args.rule;
  const auto weight = [&](float logit) { return sampling_weight(logit, top, rule.temperature); };
  const auto down = [&](float logit) { return top_key - sampling_key(logit); };

  WideSum farthest = 0, sum = 0;  // how far down weights are not 0, and their sum
  for_logits<V>(args, [&](std::uint32_t, float logit) {
    const WideSum w = weight(logit), far = w > 0 ? down(logit) : 0;
    sum += w;
    farthest = far > farthest ? far : farthest;
  });
  const auto range = static_cast<std::uint32_t>(sample_reduce(farthest, shared, SampleLargest{}));
  sum = sample_reduce(sum, shared, SampleSum{});
  if (sum == 0) return best;  // the largest is not a number
  const int bits = bits_for(range);
  const auto by_weight = [&](std::uint32_t, float logit) {
    return SampleItem{down(logit), down(logit) <= range ? weight(logit) : 0};
  };

  /// The weight of whatever stands at a position: equal keys have equal logits.
  const auto weight_at = [&](std::uint32_t position) {
    WideSum found = 0;
    for_logits<V>(args, [&](std::uint32_t, float logit) {
      if (down(logit) == position) found = weight(logit);
    });
    return sample_reduce(found, shared, SampleLargest{});
  };

  if (rule.top_k > 0 && rule.top_k < args.count) {
    const auto by_one = [&](std::uint32_t, float logit) {
      return SampleItem{down(logit), down(logit) <= range ? 1u : 0u};
    };
    const auto target = static_cast<WideSum>(rule.top_k);
    const SamplePlace last = sample_find<V>(args, shared, bits, target, by_one);
    if (last.found) {
      WideSum kept = 0;
      for_logits<V>(args, [&](std::uint32_t, float logit) { kept += down(logit) < last.position ? weight(logit) : 0; });
      sum = sample_reduce(kept, shared, SampleSum{}) + (target - last.before) * weight_at(last.position);
    }
  }
  if (rule.top_p < 1) {
    const WideSum wanted = sampling_nucleus(sum, rule.top_p);
    const SamplePlace last = sample_find<V>(args, shared, bits, wanted, by_weight);
    const WideSum each = weight_at(last.position);
    sum = last.before + (wanted - last.before + each - 1) / each * each;
  }
  const WideSum point = sampling_point(sum, args.chance);
  const SamplePlace drawn = sample_find<V>(args, shared, bits, point + 1, by_weight);
  const WideSum equal_before = (point - drawn.before) / weight_at(drawn.position);  // of several with this logit
  const auto by_token = [&](std::uint32_t token, float logit) {
    return SampleItem{token, down(logit) == drawn.position ? 1u : 0u};
  };
  const auto last_token = static_cast<std::uint32_t>(args.count - 1);
  return sample_find<V>(args, shared, bits_for(last_token), equal_before + 1, by_token).position;
}

template <int V>
__global__ void __launch_bounds__(sample_threads) sample_kernel(SampleArgs args) {
  auto& shared = shared_memory<SampleShared>();
  // The largest logit; of equal ones the first token, whose complement is larger.
  WideSum mine = 0;
  for_logits<V>(args, [&](std::uint32_t token, float logit) {
    const WideSum here = WideSum{sampling_key(logit)} << 32 | ~token;
    mine = here > mine ? here : mine;
  });
  const WideSum largest = sample_reduce(mine, shared, SampleLargest{});
  const auto top_key = static_cast<std::uint32_t>(largest >> 32), best = ~static_cast<std::uint32_t>(largest);
  std::uint32_t chosen = best;
  if (args.rule.temperature != 0) {
    const float raw = load(args.logits + best);
    const bool again = args.rule.repetition_penalty != 1 && load(args.seen + best) != 0;
    const float top = again ? penalised(raw, args.rule.repetition_penalty) : raw;
    chosen = sample_drawn<V>(args, shared, best, top_key, top);
  }
  __syncthreads();  // everybody has read what was seen
  if (thread_index() != 0) return;
  store(args.id, static_cast<std::int32_t>(chosen));
  store(args.seen + chosen, std::uint8_t{1});
}

// ---- launchers ----

/// id (1) = the token that `rule` chooses from the only row of logits (1, V), where tokens with seen (V) = 1 are
/// penalised; the chosen one is then seen. Takes no workspace.
inline void run(Tag<kernel::Sample>, KernelDevice& device, View<const float, 2> logits, const SamplingRule& rule,
                View<std::uint8_t, 1> seen, View<std::int32_t, 1> id, View<std::byte, 1>) {
  const std::int64_t count = logits.extent(1);
  check(logits.rows() == 1 && count > 0 && seen.packed() && seen.extent(0) == count && id.extent(0) == 1,
        "[sample] logits ({}, {}) must be one row, with {} marks of what was seen and one place for the token",
        logits.rows(), count, seen.extent(0));
  const SampleArgs args{logits.data, seen.data,          id.data, narrow<std::int32_t>(count, "[sample] vocabulary"),
                        rule,        sampling_bits(rule)};
  const gpu::LaunchShape shape{{1, 1, 1}, {sample_threads, 1, 1}, sizeof(SampleShared)};
  launch(device, "sample", shape, allows_vectors(logits) ? &sample_kernel<4> : &sample_kernel<1>, args);
}

}  // namespace HONE_TARGET
}  // namespace hone
