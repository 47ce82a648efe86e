// Memory: where a device's bytes come from. Three sources, one ledger:
//   - slabs: weights, gradients and optimizer state are each taken at once and handed out from the front;
//   - a plan: a step's temporaries sit at offsets packed ahead of time, replayed by allocation number;
//   - online: code that has no plan gets cached blocks (a free one at most twice as large is taken again), and memory
//     grows until that cache is warm.
// Category::host is memory of the host, where its device can reach it, and has slabs and a cache of its own.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/target.hpp>
#include <hone/memory/backing.hpp>
#include <hone/memory/guard.hpp>
#include <hone/memory/ledger.hpp>
#include <hone/memory/pack.hpp>

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// One allocation. `data` is null on a memory without bytes (Meta).
struct Block {
  std::byte* data = nullptr;
  std::int64_t bytes = 0;  ///< rounded to the alignment, redzone included
  Ledger::Entry* entry = nullptr;
  std::int64_t lifetime = -1;   ///< index in the trace that recorded it, -1 outside one
  std::int64_t recording = -1;  ///< which recording that was
  std::int64_t cached = 0;      ///< size of the online block behind it, which returns to the cache; 0 = none
  bool in_slab = false;         ///< counts among its slab's live blocks
};

class Memory {
 public:
  /// Bytes of the host; `backed` = false is Meta: everything is counted, nothing exists.
  Memory(Target target, bool backed) : Memory(target, backed ? std::make_unique<HostBacking>() : nullptr) {}
  /// Bytes of `backing`; none: as Meta.
  Memory(Target target, std::unique_ptr<Backing> backing) : target_(target), backing_(std::move(backing)) {}
  ~Memory() {
    for (const bool host : {false, true})
      for (auto& [bytes, blocks] : cache_of(host))
        for (std::byte* block : blocks) system_release(block, host);
    for (const Category category : all_categories)
      for (auto& slab : slabs_[index_of(category)]) system_release(slab.data, category == Category::host);
    if (plan_.data != nullptr) system_release(plan_.data, false);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  const Target& target() const { return target_; }
  const Ledger& ledger() const { return ledger_; }
  void reset_peaks() { ledger_.reset_peaks(); }
  /// New blocks are filled with 0xff (NaN in every floating type), so that a test sees a read before a write.
  void poison_new_blocks(bool on) { poison_ = on; }
  /// Allocations that would lift the device's live bytes above `bytes` are refused; 0 lifts the limit.
  void set_budget(std::int64_t bytes) { budget_ = bytes; }

  /// What `bytes` will occupy.
  std::int64_t rounded(std::int64_t bytes) const {
    return round_up(checked_add(bytes, target_.redzone, "[memory] size"), target_.alignment);
  }

  Block allocate(std::int64_t bytes, Category category, std::string_view name) {
    const std::lock_guard lock(mutex_);
    Block block{nullptr, rounded(bytes), ledger_.entry(category, name), -1, -1, 0, false};
    refuse_above_budget(block, name);
    if (recording_ && is_temporary(category)) {
      block.lifetime = static_cast<std::int64_t>(trace_.size());
      block.recording = recordings_;
      trace_.push_back({block.bytes, clock_++, -1, block.entry});
    }
    if (backed()) place(block, category, name);
    if (poison_ && block.data != nullptr) poison(block);
    if (guards(block)) guard(block.data + bytes, static_cast<std::size_t>(block.bytes - bytes));
    ledger_.add(block.entry, block.bytes);
    return block;
  }

  void release(const Block& block) noexcept {
    const std::lock_guard lock(mutex_);
    ledger_.add(block.entry, -block.bytes);
    if (guards(block)) unguard(block.data, static_cast<std::size_t>(block.bytes));
    if (recording_ && block.recording == recordings_) trace_[static_cast<std::size_t>(block.lifetime)].death = clock_++;
    give_back(block);
  }

  /// Takes `bytes` for a category at once; later allocations of that category come from it, in order. A slab goes back
  /// to the system when everything in it has been released.
  void reserve_slab(Category category, std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!backed() || bytes == 0) return;
    slabs_[index_of(category)].push_back(
        {system_allocate(bytes, name_of(category), category == Category::host), bytes, 0, 0});
  }

  // Recording: between the two calls, temporaries are traced.
  void start_recording() {
    const std::lock_guard lock(mutex_);
    trace_.clear();
    clock_ = 0;
    ++recordings_;
    recording_ = true;
  }
  Trace stop_recording() {
    const std::lock_guard lock(mutex_);
    recording_ = false;
    for (Lifetime& item : trace_)
      if (item.death < 0) item.death = clock_;
    return std::move(trace_);
  }

  /// Takes the slab of a plan's temporaries before the first step.
  void reserve_plan(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    grow_plan(bytes);
  }

  /// From here on temporaries sit where `packing` says, by number; it must outlive the replay. The slab grows to the
  /// largest packing seen and is kept.
  void start_replay(const Packing& packing) {
    const std::lock_guard lock(mutex_);
    grow_plan(packing.slab_bytes);
    replay_ = &packing;
    replayed_ = 0;
  }
  /// Where the slab of a plan's temporaries lies: what was written down for one place is void at another.
  const std::byte* plan_place() const { return plan_.data; }
  void stop_replay() noexcept {
    const std::lock_guard lock(mutex_);
    replay_ = nullptr;
  }

  /// Calls that asked the operating system for memory so far; constant once a run is warm.
  std::int64_t system_allocations() const { return system_allocations_; }

 private:
  struct Slab {
    std::byte* data = nullptr;
    std::int64_t bytes = 0;
    std::int64_t used = 0;
    std::int64_t live = 0;  ///< blocks that have not been released
  };

  bool backed() const { return backing_ != nullptr; }
  /// What rounding and redzone add to a block of the emulator is nobody's.
  bool guards(const Block& block) const { return target_.kind == DeviceKind::emu && block.data != nullptr; }

  void grow_plan(std::int64_t bytes) {
    if (!backed() || plan_.bytes >= bytes) return;
    if (plan_.data != nullptr) system_release(plan_.data, false);
    plan_ = {};
    plan_ = {system_allocate(bytes, "step temporaries", false), bytes, 0, 0};
  }

  void refuse_above_budget(const Block& block, std::string_view name) {
    if (budget_ <= 0 || block.entry->category == Category::host || ledger_.device().now + block.bytes <= budget_)
      return;
    throw OutOfMemory(fmt::format("[memory] {} / {} wants {} ({} B) above the budget of {} ({} B)\n{}",
                                  name_of(block.entry->category), name, human_bytes(block.bytes), block.bytes,
                                  human_bytes(budget_), budget_, ledger_.report()));
  }

  void place(Block& block, Category category, std::string_view name) {
    if (replay_ != nullptr && is_temporary(category)) return replay(block, name);
    for (Slab& slab : slabs_[index_of(category)]) {
      // A block without bytes has no place that would tell which slab it came from.
      if (block.bytes == 0 || slab.used + block.bytes > slab.bytes) continue;
      block.data = slab.data + slab.used;
      block.in_slab = true;
      slab.used += block.bytes;
      ++slab.live;
      return;
    }
    take_cached(block, name, category == Category::host);
  }

  /// The smallest free block that fits without wasting more than it holds; else a new one of the size asked for.
  void take_cached(Block& block, std::string_view name, bool host) {
    auto& cache = cache_of(host);
    const std::int64_t wanted = std::max(block.bytes, target_.alignment);
    for (auto size = cache.lower_bound(wanted); size != cache.end() && size->first <= 2 * wanted; ++size) {
      if (size->second.empty()) continue;
      block.cached = size->first;
      block.data = size->second.back();
      size->second.pop_back();
      return;
    }
    block.cached = wanted;
    cache.try_emplace(block.cached);  // so that release() finds its list
    block.data = system_allocate(block.cached, name, host);
  }

  void poison(const Block& block) {
    try {
      backing_->poison(block.data, static_cast<std::size_t>(block.bytes));
    } catch (...) {
      give_back(block);
      throw;
    }
  }

  void give_back(const Block& block) noexcept {
    const bool host = block.entry->category == Category::host;
    if (block.cached > 0) cache_of(host).find(block.cached)->second.push_back(block.data);
    if (block.in_slab) leave_slab(block);
  }

  void leave_slab(const Block& block) noexcept {
    auto& slabs = slabs_[index_of(block.entry->category)];
    for (auto slab = slabs.begin(); slab != slabs.end(); ++slab) {
      if (block.data < slab->data || block.data >= slab->data + slab->bytes) continue;
      if (--slab->live == 0) {
        system_release(slab->data, block.entry->category == Category::host);
        slabs.erase(slab);
      }
      return;
    }
  }

  void replay(Block& block, std::string_view name) {
    const auto number = static_cast<std::size_t>(replayed_);
    check(number < replay_->offsets.size() && replay_->sizes[number] == block.bytes,
          "[memory] allocation {} of the step ({}, {} B) is not the one planned ({})", number, name, block.bytes,
          number < replay_->sizes.size() ? std::to_string(replay_->sizes[number]) + " B" : "none left");
    block.data = plan_.data + replay_->offsets[number];
    ++replayed_;
  }

  std::byte* system_allocate(std::int64_t bytes, std::string_view name, bool host) {
    ++system_allocations_;
    const auto wanted = static_cast<std::size_t>(std::max(bytes, target_.alignment));
    const auto alignment = static_cast<std::size_t>(target_.alignment);
    std::byte* data = host ? backing_->allocate_host(wanted, alignment) : backing_->allocate(wanted, alignment);
    if (data == nullptr)
      throw OutOfMemory(fmt::format("[memory] the {} has no {} for {}\n{}{}", host ? "host" : "system",
                                    human_bytes(bytes), name, host ? "" : backing_->state(), ledger_.report()));
    return data;
  }
  void system_release(std::byte* data, bool host) noexcept {
    host ? backing_->release_host(data) : backing_->release(data);
  }
  using Cache = std::map<std::int64_t, std::vector<std::byte*>>;
  Cache& cache_of(bool host) { return cache_[host ? 1 : 0]; }

  Target target_;
  std::unique_ptr<Backing> backing_;
  bool poison_ = false;
  bool recording_ = false;
  std::int64_t budget_ = 0;
  std::int64_t clock_ = 0;
  std::int64_t recordings_ = 0;
  std::int64_t replayed_ = 0;
  std::int64_t system_allocations_ = 0;
  const Packing* replay_ = nullptr;
  Ledger ledger_;
  Trace trace_;
  Slab plan_;
  std::array<std::vector<Slab>, all_categories.size()> slabs_{};
  std::array<Cache, 2> cache_;  // of the device and of the host
  mutable std::mutex mutex_;
};

}  // namespace hone
