// What CUDA keeps for the graphs of a run's steps: the one part of a card's memory that hone does not allocate itself
// and a run makes larger. It is foretold, and said to be an assumption.
#pragma once

#include <hone/step/step_graphs.hpp>

#include <algorithm>
#include <cstdint>

namespace hone {

/// The executable graphs of a run, see StepGraphs.
struct PlannedGraphs {
  std::int64_t count = 0;
  std::int64_t nodes = 0;  ///< in all of them: kernels, and the copies of what is offloaded

  /// Of each node, in an executable graph: about this many bytes, as NVIDIA's own cache of graphs reckons
  /// (github.com/NVIDIA/cccl, pull request 3768). Drivers differ.
  static constexpr std::int64_t node_bytes = 10000;
  std::int64_t bytes() const { return nodes * node_bytes; }
};

/// A graph for each size of training batches, another for those that add to a step's gradients, one for each size of
/// evaluation batches, and one for the update: where batches of a size differ in their supervised tokens by more than
/// an eighth of the batch there are more. `batch` and `update` are the nodes of a batch and of an update.
inline PlannedGraphs plan_graphs(std::int64_t train_sizes, std::int64_t evaluate_sizes, std::int64_t accumulation,
                                 std::int64_t batch, std::int64_t update) {
  if (train_sizes == 0) return {};
  const std::int64_t wanted = train_sizes * (accumulation > 1 ? 2 : 1) + evaluate_sizes;
  const std::int64_t batches = std::min(wanted, static_cast<std::int64_t>(most_step_graphs) - 1);
  return {batches + 1, batches * batch + update};
}

}  // namespace hone
