// Offline packing: offsets in one slab for allocations whose sizes and lifetimes are all known.
#pragma once

#include <hone/memory/trace.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace hone {

/// The replayable outcome: allocation i lives at offsets[i] and has sizes[i] bytes.
struct Packing {
  std::vector<std::int64_t> offsets;
  std::vector<std::int64_t> sizes;
  std::int64_t slab_bytes = 0;
  std::int64_t live_peak = 0;  ///< the lower bound no packing can beat
};

namespace detail {

/// Bytes alive at the worst moment.
inline std::int64_t live_peak(const Trace& trace) {
  std::vector<std::pair<std::int64_t, std::int64_t>> events;  // (time, +bytes or -bytes)
  events.reserve(trace.size() * 2);
  for (const Lifetime& item : trace) {
    events.emplace_back(item.birth, item.bytes);
    events.emplace_back(item.death, -item.bytes);
  }
  std::sort(events.begin(), events.end());  // at equal times releases (negative) come first
  std::int64_t now = 0, peak = 0;
  for (const auto& [time, delta] : events) peak = std::max(peak, now += delta);
  return peak;
}

/// Places the items in `order`, each in the tightest gap between already placed items that are alive at the same time.
inline Packing place(const Trace& trace, const std::vector<std::size_t>& order) {
  Packing out{std::vector<std::int64_t>(trace.size()), {}, 0, 0};
  std::vector<std::size_t> placed;  // by offset
  std::vector<std::size_t> neighbours;
  for (const std::size_t item : order) {
    const Lifetime& self = trace[item];
    neighbours.clear();
    for (const std::size_t other : placed)
      if (trace[other].birth < self.death && self.birth < trace[other].death) neighbours.push_back(other);
    std::int64_t best_offset = -1, best_gap = 0, end = 0;
    for (const std::size_t other : neighbours) {
      const std::int64_t gap = out.offsets[other] - end;
      if (gap >= self.bytes && (best_offset < 0 || gap < best_gap)) best_offset = end, best_gap = gap;
      end = std::max(end, out.offsets[other] + trace[other].bytes);
    }
    out.offsets[item] = best_offset < 0 ? end : best_offset;
    out.slab_bytes = std::max(out.slab_bytes, out.offsets[item] + self.bytes);
    const auto at = std::upper_bound(placed.begin(), placed.end(), item,
                                     [&](std::size_t a, std::size_t b) { return out.offsets[a] < out.offsets[b]; });
    placed.insert(at, item);
  }
  return out;
}

}  // namespace detail

/// Packs by best fit over several orders (size, bytes x lifetime, birth) and keeps the smallest slab. Deterministic.
inline Packing pack(const Trace& trace) {
  std::vector<std::size_t> order(trace.size());
  Packing best;
  const auto attempt = [&](auto key) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return key(trace[a]) > key(trace[b]); });
    Packing candidate = detail::place(trace, order);
    if (best.offsets.empty() || candidate.slab_bytes < best.slab_bytes) best = std::move(candidate);
  };
  attempt([](const Lifetime& item) { return item.bytes; });
  attempt([](const Lifetime& item) {
    return static_cast<double>(item.bytes) * static_cast<double>(item.death - item.birth);
  });
  attempt([](const Lifetime& item) { return item.death - item.birth; });
  attempt([](const Lifetime& item) { return -item.birth; });
  best.live_peak = detail::live_peak(trace);
  for (const Lifetime& item : trace) best.sizes.push_back(item.bytes);
  return best;
}

}  // namespace hone
