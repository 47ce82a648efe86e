// Block: runs the threads of one thread block as fibers until each waits at a barrier or a warp collective, or ends.
// Strict: what CUDA leaves undefined is an error that names file and line here.
#pragma once

#include <hone/emu/block_state.hpp>
#include <hone/emu/requests.hpp>
#include <hone/emu/settings.hpp>
#include <hone/emu/thread.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hone::emulator {

// CUDA's own names, so that kernels read as they do for nvcc. The scheduler sets them before it lets a thread run.
inline constinit thread_local Dim3 threadIdx{0, 0, 0};
inline constinit thread_local Dim3 blockIdx{0, 0, 0};
inline constinit thread_local Dim3 blockDim;
inline constinit thread_local Dim3 gridDim;

/// Of a block's dynamic shared memory, as shared_memory<S>() asks nvcc for it: the pattern of the widest swizzle
/// repeats after so many bytes.
inline constexpr std::align_val_t shared_alignment{1024};

/// What every thread of a launch executes.
struct Body {
  void (*call)(void* context) = nullptr;
  void* context = nullptr;
};

/// Numbers 0..count-1 in the order the settings ask for.
inline void order_numbers(std::vector<std::int64_t>& numbers, std::int64_t count, Order order, std::uint64_t& random) {
  numbers.resize(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  if (order == Order::reversed) std::reverse(numbers.begin(), numbers.end());
  if (order == Order::seeded)
    for (std::size_t i = numbers.size(); i > 1; --i) std::swap(numbers[i - 1], numbers[next_random(random) % i]);
}

class Block;
class Cluster;

namespace detail {
inline constinit thread_local Block* running_block = nullptr;
}

class Block {
 public:
  /// `cluster` is what the block belongs to when it runs beside others, as number `rank`.
  Block(const char* kernel, const Dim3& size, std::size_t shared_bytes, const Settings& settings, Counters& counters,
        Cluster* cluster = nullptr, int rank = 0)
      : cluster_(cluster),
        rank_(rank),
        kernel_(kernel),
        size_(size),
        shared_bytes_(shared_bytes),
        settings_(settings),
        counters_(counters),
        random_(settings.seed),
        threads_(static_cast<std::size_t>(size.count())) {
    // Exactly as large as asked for, so that the address sanitizer sees the first byte past it.
    if (shared_bytes_ > 0) shared_ = static_cast<std::byte*>(::operator new(shared_bytes_, shared_alignment));
    if (settings_.count_requests) requests_.emplace();
    for (std::size_t i = 0; i < threads_.size(); ++i) threads_[i].index = index_in(size_, static_cast<std::int64_t>(i));
  }
  ~Block() {
    if (shared_ != nullptr) ::operator delete(shared_, shared_alignment);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Runs block `index` to its end, or throws what one of its threads threw or what the scheduler found.
  void run(const Dim3& index, const Body& body) {
    begin(index, body);
    while (pass()) {
    }
    finish();
  }

  // The parts of it, for blocks that run beside one another.
  void begin(const Dim3& index, const Body& body) {
    index_ = index;
    body_ = body;
    if (shared_ != nullptr) std::memset(shared_, poison_byte, shared_bytes_);
    state_.begin(static_cast<int>(threads_.size()), shared_, shared_bytes_);
    meetings_ = 0;
    for (auto& thread : threads_) {
      thread.state = State::unborn;
      thread.copies.clear();
    }
  }
  /// Runs every thread that can run; opens the barrier when nobody can. False when nothing is left to do. Forward and
  /// reversed, a warp runs ahead of the others as far as it can, which is what finds a missing barrier; seeded, threads
  /// of all warps take turns.
  bool pass() {
    if (cancelled_) return false;
    detail::running_block = this;
    blockIdx = index_;
    bool progress = false;
    order_numbers(order_, static_cast<std::int64_t>(threads_.size()), settings_.order, random_);
    for (std::size_t begin = 0, end = 0; begin < order_.size(); begin = end) {
      end = settings_.order == Order::seeded ? order_.size() : end_of_warp(begin);
      do {
        met_ = false;
        for (std::size_t i = begin; i < end; ++i) {
          const Thread& thread = threads_[static_cast<std::size_t>(order_[i])];
          if (thread.state != State::unborn && thread.state != State::runnable) continue;
          progress = true;
          resume(static_cast<int>(order_[i]));
          if (cancelled_) return false;
        }
      } while (met_ && settings_.order != Order::seeded);
    }
    return progress || open_barrier();
  }
  /// True when a thread failed, or all have ended.
  bool failed() const { return cancelled_; }
  bool ended() const {
    return std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::finished; });
  }
  /// True when nothing but the event, which others must bring about, keeps the block from its end.
  bool waits_only_for(const Event& event) const {
    return std::all_of(threads_.begin(), threads_.end(), [&](const Thread& t) {
      return t.state == State::finished || (t.state == State::at_event && t.event == &event);
    });
  }
  /// Brings the threads that are left to their ends, because another block failed.
  void stop() {
    cancelled_ = true;
    unwind();
  }
  void finish() {
    if (!cancelled_) check_all_finished();
    if (cancelled_) {
      unwind();
      std::rethrow_exception(error_);
    }
    if (const std::string left = state_.left_open(); !left.empty()) fail("{} ends with {}", place(), left);
    if (requests_) requests_->close(counters_);
    ++counters_.blocks;
    counters_.threads += static_cast<std::int64_t>(threads_.size());
  }

  // ---- called by the running thread ----

  void barrier(const Where& where) {
    Thread& self = running();
    self.where = where;
    park(self, State::at_barrier);
  }

  /// Waits until every lane of the mask is here, with the same operation, mask and line.
  void collective(const Collective& wanted) {
    Thread& self = running();
    const int first = current_ / warp_size * warp_size, lane = current_ % warp_size;
    const auto threads = static_cast<int>(threads_.size());
    const std::uint32_t alive = threads - first >= warp_size ? full_mask : (1u << (threads - first)) - 1;
    if (((wanted.mask >> lane) & 1u) == 0 || (wanted.mask & ~alive) != 0)
      fail_here("{} {}: lane {} calls with mask {:#010x}, which must name itself and only lanes of the warp's {:#010x}",
                wanted.name, to_string(wanted.where), lane, wanted.mask, alive);
    self.collective = wanted;
    void* data[warp_size] = {};
    for (int l = 0; l < warp_size; ++l) {
      if (((wanted.mask >> l) & 1u) == 0) continue;
      Thread& other = threads_[static_cast<std::size_t>(first + l)];
      const bool here = l == lane || (other.state == State::at_collective && other.collective.fits(wanted));
      if (!here) return park(self, State::at_collective);
      data[l] = other.collective.lane_data;
    }
    wanted.resolve(data, wanted.mask);
    for (int l = 0; l < warp_size; ++l)
      if ((wanted.mask >> l) & 1u) threads_[static_cast<std::size_t>(first + l)].state = State::runnable;
    self.atomics_in_a_row = spins_ = 0;
    met_ = true;
    ++counters_.collectives;
  }

  /// Waits until somebody signals the event.
  void wait_for(const Event& event, const Where& where) {
    Thread& self = running();
    self.where = where;
    self.event = &event;
    park(self, State::at_event);
  }
  void signal(const Event& event) {
    wake(event);
    running().atomics_in_a_row = 0;
  }
  /// The same from another block.
  void wake(const Event& event) {
    for (auto& thread : threads_)
      if (thread.state == State::at_event && thread.event == &event) thread.state = State::runnable;
    spins_ = 0;
    met_ = true;
  }

  /// Lets the other threads go on.
  void yield() { park(running(), State::runnable); }

  /// Called at every atomic: a thread that does many of them without ever waiting may be spinning on a lock that
  /// another thread holds. It steps aside; when stepping aside brings nobody forward for long, it is a livelock.
  void spin_check(const char* name, const Where& where) {
    constexpr std::int64_t patience = 64, rounds = 1024;
    Thread& self = running();
    if (++self.atomics_in_a_row % patience != 0) return;
    if (++spins_ > rounds * static_cast<std::int64_t>(threads_.size()))
      fail_here(
          "livelock: {} {} was repeated {} times while no thread of the block reached a barrier, a collective or its "
          "end",
          name, to_string(where), self.atomics_in_a_row);
    yield();
  }

  /// The dynamic shared memory of the block, seen as an object of `bytes` bytes.
  std::byte* shared(std::size_t bytes, const Where& where) {
    if (bytes > shared_bytes_)
      fail_here("shared memory {}: the kernel uses {} bytes, the launch gave {}", to_string(where), bytes,
                shared_bytes_);
    return shared_;
  }
  bool is_shared(const void* address) const {
    const auto at = reinterpret_cast<std::uintptr_t>(address), begin = reinterpret_cast<std::uintptr_t>(shared_);
    return shared_ != nullptr && at >= begin && at < begin + shared_bytes_;
  }

  std::size_t shared_bytes() const { return shared_bytes_; }
  std::byte* shared_begin() const { return shared_; }
  Cluster* cluster() const { return cluster_; }
  int rank() const { return rank_; }
  const Dim3& index() const { return index_; }

  AsyncQueue& copies() { return running().copies; }
  Counters& counters() { return counters_; }
  void note(Access kind, const void* address, std::size_t bytes, const Where& where) {
    if (requests_) requests_->add(kind, current_, address, bytes, where);
  }
  void note_warp(Access kind, const std::vector<LaneAccess>& request) {
    if (requests_) RequestLog::book(kind, request, counters_);
  }
  int thread_number() const { return current_; }
  int thread_count() const { return static_cast<int>(threads_.size()); }
  std::string name_of_thread(int number) const { return to_string(threads_[static_cast<std::size_t>(number)].index); }
  /// How often threads of the block have met at a barrier: what one of them wrote before, the others see after.
  std::int64_t meetings() const { return meetings_; }
  void note_meeting() {
    ++counters_.barriers;
    ++meetings_;
  }
  BlockState& state() { return state_; }
  AsyncState& async() { return state_.threads[static_cast<std::size_t>(current_)]; }
  bool counts_requests() const { return requests_.has_value(); }

  template <class... Args>
  [[noreturn]] void fail_here(fmt::format_string<Args...> text, Args&&... args) {
    const std::string what = fmt::format(text, std::forward<Args>(args)...);
    fail("{}, thread {}: {}", place(), to_string(running().index), what);
  }

 private:
  struct Cancelled {};  // unwinds a waiting thread after another one failed

  Thread& running() { return threads_[static_cast<std::size_t>(current_)]; }
  std::string place() const { return fmt::format("[emu] {}, block {}", kernel_, to_string(index_)); }

  void park(Thread& self, State state) {
    self.state = state;
    if (state != State::runnable) self.atomics_in_a_row = spins_ = 0;
    self.fiber.suspend();
    if (cancelled_) throw Cancelled{};
  }

  /// Where the warp that starts at order_[begin] ends.
  std::size_t end_of_warp(std::size_t begin) const {
    std::size_t end = begin;
    while (end < order_.size() && order_[end] / warp_size == order_[begin] / warp_size) ++end;
    return end;
  }

  void resume(int number) {
    current_ = number;
    Thread& thread = running();
    threadIdx = thread.index;
    if (thread.state == State::unborn) {
      const std::size_t stack = static_cast<std::size_t>(rank_) * threads_.size() + static_cast<std::size_t>(number);
      thread.fiber.start(StackPool::of_this_thread().at(stack), &Block::thread_main, this);
      thread.state = State::runnable;
      thread.atomics_in_a_row = 0;
    }
    thread.fiber.resume();
  }

  static void thread_main(void* block) {
    auto* self = static_cast<Block*>(block);
    const int number = self->current_;
    try {
      self->body_.call(self->body_.context);
      if (!self->copies().empty()) self->fail_here("ends while async copies that nobody waited for are under way");
      if (const std::string left = self->state_.left_open(number); !left.empty())
        self->fail_here("ends while {}", left);
    } catch (const Cancelled&) {
    } catch (...) {
      self->cancel(std::current_exception());
    }
    self->spins_ = 0;
    self->threads_[static_cast<std::size_t>(number)].state = State::finished;
  }

  void cancel(std::exception_ptr error) {
    if (!cancelled_) error_ = std::move(error);
    cancelled_ = true;
  }

  /// A barrier opens when the whole block waits at the same line.
  bool open_barrier() {
    for (const auto& thread : threads_)
      if (thread.state != State::at_barrier || !(thread.where == threads_.front().where)) return false;
    for (auto& thread : threads_) thread.state = State::runnable;
    ++counters_.barriers;
    ++meetings_;
    return true;
  }

  void check_all_finished() {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (threads_[i].state == State::finished) continue;
      cancel(std::make_exception_ptr(Error(fmt::format("{}: {}", place(), deadlock()))));
      return;
    }
  }

  /// Why nobody can go on. Collectives first: a barrier that misses a thread often misses it because of one.
  std::string deadlock() const {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const Thread& thread = threads_[i];
      if (thread.state != State::at_collective) continue;
      const std::size_t first = i / warp_size * warp_size;
      for (std::size_t l = 0; l < warp_size; ++l) {
        if (((thread.collective.mask >> l) & 1u) == 0) continue;
        const Thread& other = threads_[first + l];
        if (other.state == State::at_collective && other.collective.fits(thread.collective)) continue;
        return fmt::format("deadlock: thread {} {}; thread {} of its mask {}", to_string(thread.index),
                           describe(thread), to_string(other.index), describe(other));
      }
    }
    for (const auto& thread : threads_)
      if (thread.state == State::at_event)
        return fmt::format("deadlock: thread {} {}", to_string(thread.index), describe(thread));
    const Thread* waiting = nullptr;
    for (const auto& thread : threads_)
      if (thread.state == State::at_barrier && waiting == nullptr) waiting = &thread;
    for (const auto& thread : threads_)
      if (waiting != nullptr && (thread.state != State::at_barrier || !(thread.where == waiting->where)))
        return fmt::format("divergent barrier: thread {} {}; thread {} {}", to_string(waiting->index),
                           describe(*waiting), to_string(thread.index), describe(thread));
    return "deadlock";
  }

  /// Brings every thread that waits to its end by an exception, so that what lives on its stack is destroyed.
  void unwind() {
    detail::running_block = this;
    blockIdx = index_;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const State state = threads_[i].state;
      if (state != State::unborn && state != State::finished) resume(static_cast<int>(i));
    }
  }

  Cluster* cluster_;
  int rank_;
  const char* kernel_;
  Dim3 size_;
  Dim3 index_;
  std::size_t shared_bytes_;
  std::byte* shared_ = nullptr;
  Settings settings_;
  Counters& counters_;
  std::uint64_t random_;
  std::vector<Thread> threads_;
  std::vector<std::int64_t> order_;
  std::optional<RequestLog> requests_;
  Body body_;
  int current_ = 0;
  BlockState state_;
  std::int64_t meetings_ = 0;
  std::int64_t spins_ = 0;  // times a thread stepped aside since any thread got anywhere
  bool met_ = false;        // a collective was completed
  bool cancelled_ = false;
  std::exception_ptr error_;
};

}  // namespace hone::emulator
