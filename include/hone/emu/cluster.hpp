// Cluster: blocks that run at the same time, meet at a barrier of their own and reach into one another's shared memory
// (sm_90). A launch without clusters is one of clusters of one block.
#pragma once

#include <hone/emu/block.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace hone::emulator {

/// barrier.cluster: every thread of every block arrives, and waits. Stricter than PTX, which does not count threads
/// that have ended.
class ClusterBarrier final : public Event {
 public:
  explicit ClusterBarrier(const Cluster& cluster) : cluster_(cluster) {}
  void clear() {
    arrived_ = 0;
    phase_ = 0;
  }
  std::uint64_t phase() const { return phase_; }
  /// True when it completes the meeting of `wanted` threads.
  bool arrive(int wanted) {
    if (++arrived_ < wanted) return false;
    arrived_ = 0;
    ++phase_;
    return true;
  }
  int arrived() const { return arrived_; }
  std::string status() const override;

 private:
  const Cluster& cluster_;
  int arrived_ = 0;
  std::uint64_t phase_ = 0;
};

class Cluster {
 public:
  Cluster(const char* kernel, const Dim3& size, std::size_t shared_bytes, const Settings& settings, Counters& counters,
          unsigned blocks)
      : barrier_(*this), random_(settings.seed + 2), order_kind_(settings.order) {
    for (unsigned rank = 0; rank < blocks; ++rank)
      blocks_.push_back(
          std::make_unique<Block>(kernel, size, shared_bytes, settings, counters, this, static_cast<int>(rank)));
  }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  /// Runs cluster `number` of the grid to its end, or throws what one of its threads threw or what a scheduler found.
  void run(const Dim3& grid, std::int64_t number, const Body& body) {
    barrier_.clear();
    const auto count = static_cast<std::int64_t>(blocks_.size());
    for (std::int64_t i = 0; i < count; ++i)
      blocks_[static_cast<std::size_t>(i)]->begin(index_in(grid, number * count + i), body);
    while (pass()) {
    }
    Block* const bad = culprit();
    if (bad == nullptr) {
      for (const auto& block : blocks_) block->finish();
      return;
    }
    for (const auto& block : blocks_)
      if (block.get() != bad) block->stop();
    bad->finish();
  }

  // ---- called by the running thread ----

  Block& block(int rank) const { return *blocks_[static_cast<std::size_t>(rank)]; }
  int size() const { return static_cast<int>(blocks_.size()); }
  ClusterBarrier& barrier() { return barrier_; }

  void arrive(Block& from) {
    if (!barrier_.arrive(size() * from.thread_count())) return;
    for (const auto& block : blocks_) {
      block->note_meeting();
      block->wake(barrier_);
    }
  }

  /// Whether `address` lies in the shared memory of another block than `from`; then that one must be there.
  bool is_peers(Block& from, const char* name, const void* address, const Where& where) const {
    for (const auto& block : blocks_) {
      if (block.get() == &from || !block->is_shared(address)) continue;
      if (block->ended())
        from.fail_here("{} {}: this is shared memory of block {}, which has ended; a cluster barrier keeps it waiting",
                       name, to_string(where), to_string(block->index()));
      return true;
    }
    return false;
  }

  /// A thread that the others wait for at the barrier, in words.
  std::string missing() const {
    for (const auto& block : blocks_)
      for (int i = 0; i < block->thread_count(); ++i)
        if (!block->state().threads[static_cast<std::size_t>(i)].arrived)
          return fmt::format("thread {} of block {} has not", block->name_of_thread(i), to_string(block->index()));
    return "all have";
  }

 private:
  /// The block that failed, or that keeps the others from their ends; null when all have ended.
  Block* culprit() const {
    Block* found = nullptr;
    for (const auto& block : blocks_) {
      if (block->failed()) return block.get();
      if (block->ended()) continue;
      if (found == nullptr || found->waits_only_for(barrier_)) found = block.get();
    }
    return found;
  }

  /// Forward and reversed, a block runs ahead of the others as far as it can; seeded, they take turns.
  bool pass() {
    bool progress = false;
    order_numbers(order_, size(), order_kind_, random_);
    for (const std::int64_t rank : order_) {
      Block& block = *blocks_[static_cast<std::size_t>(rank)];
      bool more = block.pass();
      progress = progress || more;
      while (more && order_kind_ != Order::seeded) more = block.pass();
      if (block.failed()) return false;
    }
    return progress;
  }

  ClusterBarrier barrier_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::int64_t> order_;
  std::uint64_t random_;
  Order order_kind_;
};

inline std::string ClusterBarrier::status() const {
  return fmt::format("the cluster's barrier, where {} threads have arrived; {}", arrived_, cluster_.missing());
}

}  // namespace hone::emulator
