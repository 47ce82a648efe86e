// The parts of a step as graphs: a card is then given a batch's thousand launches in one call.
#pragma once

#include <hone/tensor/device.hpp>
#include <hone/tensor/graph.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace hone {

enum class StepPart : std::uint8_t {
  first_batch,  ///< its gradients overwrite
  later_batch,  ///< its gradients are added
  update,
  evaluate,
};

/// What decides the launches of a part of a step: all else that changes lies in the device's memory.
struct StepKey {
  StepPart part = StepPart::first_batch;
  std::int64_t tokens = 0;
  std::int64_t supervised = 0;  ///< as the card computes them, see padded_supervision
  std::int64_t documents = 0;   ///< for which there is room, where each has virtual tokens

  friend auto operator<=>(const StepKey&, const StepKey&) = default;
};

/// Does work without graphs.
struct WithoutGraphs {
  template <class State, class Work>
  const void* operator()(const auto&, const StepKey&, State&, const Work& work) const {
    return work();
  }
};

/// Graphs a run keeps: CUDA takes some MiB for that of a batch.
inline constexpr std::size_t most_step_graphs = 16;

/// One graph for every key, up to `most` of them. A key's first work is done as it is: only then are kernels loaded and
/// GEMM algorithms chosen, and a batch size that is met once is worth no graph. The second is written down, and
/// launched from then on.
template <Device D>
class StepGraphs {
 public:
  explicit StepGraphs(std::size_t most = most_step_graphs) : most_(most) {}

  /// Does `work()` by way of a graph. It returns a place of the device's memory, where its result is until the device
  /// is given more work; so does this. `state` is what work changes on the host: `is(saved)`, `saved()` and
  /// `become(saved)`. Work that begins in another state than the graph's is done as it is.
  template <class State, class Work>
  const void* operator()(const D& device, const StepKey& key, State& state, const Work& work) {
    if (std::exchange(place_, device.memory().plan_place()) != device.memory().plan_place()) clear();
    Entry& entry = entries_[key];
    if (!std::exchange(entry.met, true)) return work();
    if (!entry.graph) {
      if (size_ >= most_) return work();
      entry.before = state.saved();
      entry.graph.emplace(device, [&] { entry.result = work(); });
      entry.after = state.saved();
      ++size_;
    } else if (!state.is(entry.before)) {
      return work();
    }
    entry.graph->launch();
    state.become(entry.after);
    return entry.result;
  }

  std::size_t size() const { return size_; }

 private:
  struct Entry {
    bool met = false;
    std::optional<gpu::Graph> graph;
    const void* result = nullptr;
    std::vector<bool> before, after;
  };

  void clear() {
    entries_.clear();
    size_ = 0;
  }

  std::size_t most_;
  std::size_t size_ = 0;
  const std::byte* place_ = nullptr;
  std::map<StepKey, Entry> entries_;
};

}  // namespace hone
