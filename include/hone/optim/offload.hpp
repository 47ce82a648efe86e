// Optimizer states in the host's memory (Ren et al., ZeRO-Offload, 2021): they come to the device in chunks, are
// updated there by the same kernels, and go back. While one chunk is updated, the next is on its way in and the last on
// its way out, so the device holds two.
#pragma once

#include <hone/quant/dynamic_map.hpp>
#include <hone/tensor/copy_lane.hpp>
#include <hone/tensor/optimizer_scalars.hpp>
#include <hone/tensor/tensor.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

/// Bytes of state that are on the device at a time, twice: long enough copies, and little memory.
inline constexpr std::int64_t default_offload_chunk = std::int64_t{32} << 20;

namespace detail {

/// Parameters are cut at multiples of this many elements: whole blocks of 8-bit states, and whole vectors.
inline constexpr std::int64_t offload_grain = 1024;
static_assert(offload_grain % dynamic_block == 0);

/// Each part of a state begins at a multiple of this in a chunk.
inline constexpr std::int64_t offload_alignment = 256;

template <class T>
View<T, 1> part_of(const View<T, 1>& view, std::int64_t begin, std::int64_t count) {
  if (view.elements() == 0) return view;  // absent
  return {view.data == nullptr ? nullptr : view.data + begin, {count}, 1};
}
inline BlockwiseView part_of(const BlockwiseView& view, std::int64_t begin, std::int64_t count) {
  return {part_of(view.codes, begin, count),
          part_of(view.absmax, begin / dynamic_block, ceil_div(count, dynamic_block)), view.map};
}

/// Elements [begin, begin + count) of a parameter, with all that belongs to them.
template <class T, class G>
OptimizedView<T, G> part_of(const OptimizedView<T, G>& one, std::int64_t begin, std::int64_t count) {
  OptimizedView<T, G> out = one;
  out.weight = part_of(one.weight, begin, count);
  out.master = part_of(one.master, begin, count);
  out.gradient = part_of(one.gradient, begin, count);
  for (auto& state : out.states) std::visit([&](auto& view) { view = part_of(view, begin, count); }, state);
  out.first = one.first + begin;
  return out;
}

/// f(view) for everything of a parameter that is kept on the host: its states and its master copy.
template <class T, class G, class F>
void each_kept(OptimizedView<T, G>& one, F&& f) {
  if (one.master.elements() > 0) f(one.master);
  const auto of_state = [&]<class V>(V& view) {
    if constexpr (std::is_same_v<V, BlockwiseView>) {
      f(view.codes);
      f(view.absmax);
    } else if (view.elements() > 0) {
      f(view);
    }
  };
  for (auto& state : one.states) std::visit(of_state, state);
}

template <class T, class G>
std::int64_t kept_bytes(OptimizedView<T, G> one) {
  std::int64_t out = 0;
  each_kept(one, [&](const auto& view) { out += round_up(bytes_of(view), offload_alignment); });
  return out;
}

/// Gives out `parameters` chunk by chunk.
template <class T, class G>
class StateChunks {
 public:
  using Parameters = std::vector<OptimizedView<T, G>>;

  StateChunks(std::span<const OptimizedView<T, G>> parameters, std::int64_t bytes)
      : parameters_(parameters), bytes_(bytes) {}

  /// The next chunk, whose states take at most `bytes`; nothing is left when it is empty.
  Parameters next() {
    Parameters out;
    for (std::int64_t left = bytes_; at_ < parameters_.size();) {
      const OptimizedView<T, G>& one = parameters_[at_];
      const std::int64_t count = fitting(one, left);
      if (count == 0 && one.weight.elements() > 0) break;
      out.push_back(part_of(one, begin_, count));
      left -= kept_bytes(out.back());
      begin_ += count;
      if (begin_ < one.weight.elements()) break;
      begin_ = 0;
      ++at_;
    }
    return out;
  }

 private:
  /// Elements of `one` from begin_ on whose states take at most `left` bytes: all of them, or a multiple of the grain.
  std::int64_t fitting(const OptimizedView<T, G>& one, std::int64_t left) const {
    const std::int64_t wanted = one.weight.elements() - begin_;
    const auto bytes = [&](std::int64_t count) { return kept_bytes(part_of(one, begin_, count)); };
    if (bytes(wanted) <= left) return wanted;
    const std::int64_t of_grain = bytes(std::min(wanted, offload_grain));
    return std::min(wanted - 1, left / of_grain * offload_grain) / offload_grain * offload_grain;
  }

  std::span<const OptimizedView<T, G>> parameters_;
  std::int64_t bytes_;
  std::size_t at_ = 0;
  std::int64_t begin_ = 0;  // of the part of parameters_[at_] that has not been given out
};

/// The least a chunk may be: a grain of states in fp64 and a master copy.
inline constexpr std::int64_t least_offload_chunk = offload_grain * (2 * 8 + 4);

/// Bytes of a chunk where all states take `total`: two chunks should be a small part of them.
inline std::int64_t offload_chunk(std::int64_t wanted, std::int64_t total) {
  return round_up(std::max(std::min(wanted, total / 8), least_offload_chunk), offload_alignment);
}

}  // namespace detail

/// Two chunks of states on a device, and the lane on which they come and go.
template <Device D>
class OffloadedStates {
 public:
  /// Chunks of `bytes`, as detail::offload_chunk has them.
  OffloadedStates(const D& device, std::int64_t bytes) : device_(device), bytes_(bytes) {
    for (auto& buffer : buffers_)
      buffer = Tensor<std::byte, D>::empty(device, {bytes_}, {Category::optimizer, "states at hand"});
    if constexpr (Copying<D>) copies_ = std::make_unique<Copies>(device);
  }

  /// Calls apply(parameters) for all of `parameters`, part by part, with states that are on the device. Where it fails,
  /// the device waits for the copies that are under way: their memory may be given back next.
  template <class T, class G, class Apply>
  void update(std::span<const OptimizedView<T, G>> parameters, Apply&& apply) {
    try {
      update_chunks(parameters, apply);
    } catch (...) {
      if constexpr (Copying<D>)
        for (gpu::Arrival& arrival : copies_->arrivals) arrival.settle(copies_->lane, device_);
      throw;
    }
  }

 private:
  template <class T, class G, class Apply>
  void update_chunks(std::span<const OptimizedView<T, G>> parameters, Apply& apply) {
    using Parameters = std::vector<OptimizedView<T, G>>;
    detail::StateChunks<T, G> chunks(parameters, bytes_);
    follow();
    Parameters on_host = chunks.next();
    Parameters at_hand = bring(on_host, 0);
    for (std::size_t which = 0; !on_host.empty(); which = 1 - which) {
      Parameters next = chunks.next();
      Parameters next_at_hand = bring(next, 1 - which);
      meet(which);
      apply(std::span<const OptimizedView<T, G>>(at_hand));
      follow();
      take_back(at_hand, on_host, which);
      on_host = std::move(next);
      at_hand = std::move(next_at_hand);
    }
    meet(0);
    meet(1);
  }

  struct Copies {
    explicit Copies(const D& device) : lane(device), arrivals{gpu::Arrival(device), gpu::Arrival(device)} {}
    gpu::CopyLane lane;
    std::array<gpu::Arrival, 2> arrivals;  // of what a buffer waits for: its chunk, or that it has left
  };

  /// Where the states of `parameters` will be on the device, and their copies there.
  template <class T, class G>
  std::vector<OptimizedView<T, G>> bring(const std::vector<OptimizedView<T, G>>& parameters, std::size_t which) {
    std::vector<OptimizedView<T, G>> out = parameters;
    std::int64_t offset = 0;
    for (OptimizedView<T, G>& one : out)
      detail::each_kept(one, [&]<class E>(View<E, 1>& view) {
        const std::int64_t bytes = bytes_of(view);
        std::byte* const to = buffers_[which].data() == nullptr ? nullptr : buffers_[which].data() + offset;
        copy(to, view.data, bytes);
        view.data = reinterpret_cast<E*>(to);
        offset += round_up(bytes, detail::offload_alignment);
      });
    expect(which);
    return out;
  }
  template <class T, class G>
  void take_back(std::vector<OptimizedView<T, G>>& from, std::vector<OptimizedView<T, G>>& to, std::size_t which) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      std::array<void*, 5> places{};  // of the host, as each_kept walks them
      std::size_t place = 0;
      detail::each_kept(to[i], [&](const auto& view) { places[place++] = view.data; });
      place = 0;
      detail::each_kept(from[i], [&](const auto& view) { copy(places[place++], view.data, bytes_of(view)); });
    }
    expect(which);
  }

  void follow() {
    if constexpr (Copying<D>) copies_->lane.follow(device_);
  }
  void copy(void* to, const void* from, std::int64_t bytes) {
    if constexpr (Copying<D>) copies_->lane.copy(to, from, static_cast<std::size_t>(bytes));
    if constexpr (std::same_as<D, Meta>) device_.count_copy(bytes);
  }
  void expect(std::size_t which) {
    if constexpr (Copying<D>) copies_->arrivals[which].expect(copies_->lane);
  }
  void meet(std::size_t which) {
    if constexpr (Copying<D>) copies_->arrivals[which].meet(device_);
  }

  D device_;
  std::int64_t bytes_;
  std::array<Tensor<std::byte, D>, 2> buffers_;
  std::unique_ptr<Copies> copies_;  // null on Meta
};

}  // namespace hone
