// ThreadPool: a fixed set of workers that share the numbered tasks of one call with the thread that calls.
#pragma once

#include <hone/core/error.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace hone {

/// `run(tasks, body)` calls `body(task, worker)` once for every task in [0, tasks) and returns when all are done. The
/// caller works too, as worker 0; `ThreadPool(1)` starts no thread. Which worker gets which task is not defined, so a
/// kernel stays deterministic by cutting its work, and combining partial results, by shape alone.
///
/// After the first exception tasks that have not begun are dropped, and `run` rethrows it. A `run` inside a task
/// executes inline, under the task's own worker number (0 when it is another pool's). Calls from several threads take
/// turns.
class ThreadPool {
 public:
  explicit ThreadPool(int threads) : threads_(threads) {
    check(threads >= 1, "[thread_pool] got {} threads, wanted at least 1", threads);
    // More threads than cores: a spinning worker would only keep a working one from its core.
    spins_ = static_cast<unsigned>(threads) <= std::thread::hardware_concurrency() ? 4000 : 0;
    workers_.reserve(static_cast<std::size_t>(threads - 1));
    try {
      for (int worker = 1; worker < threads; ++worker) workers_.emplace_back(&ThreadPool::serve, this, worker);
    } catch (...) {
      stop();
      throw;
    }
  }
  ~ThreadPool() { stop(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  template <class F>
  void run(std::int64_t tasks, F&& body) {
    Place& place = this_thread_place();
    if (tasks == 1 && place.pool == nullptr)
      return static_cast<void>(body(std::int64_t{0}, 0));  // may spread out itself
    if (place.pool != nullptr || threads_ == 1 || tasks <= 0) {
      const int worker = place.pool == this ? place.worker : 0;
      const PlaceGuard guard{place, place.pool != nullptr ? place : Place{this, 0}};
      for (std::int64_t task = 0; task < tasks; ++task) body(task, worker);
      return;
    }
    using Body = std::remove_reference_t<F>;
    run_shared(tasks, const_cast<void*>(static_cast<const void*>(std::addressof(body))), &call<Body>);
  }

 private:
  using Call = void (*)(void* body, std::int64_t task, int worker);

  // Where this thread stands: in a task of which pool, as which worker.
  struct Place {
    const ThreadPool* pool = nullptr;
    int worker = 0;
  };
  struct PlaceGuard {
    Place& place;
    Place saved;
    PlaceGuard(Place& current, Place inner) : place(current), saved(current) { place = inner; }
    ~PlaceGuard() { place = saved; }
    PlaceGuard(const PlaceGuard&) = delete;
    PlaceGuard& operator=(const PlaceGuard&) = delete;
  };
  static Place& this_thread_place() {
    static thread_local Place place;
    return place;
  }

  template <class Body>
  static void call(void* body, std::int64_t task, int worker) {
    (*static_cast<Body*>(body))(task, worker);
  }

  // state_ holds {run number : 32, open : 1, workers inside : 31}. A worker enters only while the run is open, by a
  // compare-and-swap, and reads the job after that; the caller closes the run and waits until nobody is inside. So a
  // worker that wakes late never sees a job that is over, and the caller never waits for a worker that has not woken.
  static constexpr std::uint64_t open_bit = std::uint64_t{1} << 31;
  static constexpr std::uint64_t inside_mask = open_bit - 1;
  static std::uint64_t run_number(std::uint64_t state) { return state >> 32; }

  void run_shared(std::int64_t tasks, void* body, Call function) {
    const std::lock_guard turn(turn_);
    body_ = body;
    call_ = function;
    tasks_ = tasks;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    state_.store(((run_number(state_.load()) + 1) << 32) | open_bit);
    if (sleepers_.load() > 0) {
      const std::lock_guard lock(sleep_);
      wake_.notify_all();
    }
    work(0);
    state_.fetch_and(~open_bit);
    wait_until_empty();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  void work(int worker) {
    const PlaceGuard guard{this_thread_place(), Place{this, worker}};
    for (;;) {
      const std::int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks_) return;
      try {
        call_(body_, task, worker);
      } catch (...) {
        const std::lock_guard lock(error_guard_);
        if (!error_) error_ = std::current_exception();
        next_.store(tasks_, std::memory_order_relaxed);
      }
    }
  }

  void serve(int worker) {
    std::uint64_t seen = 0;  // the run this worker took part in last
    while (wait_for_run(seen)) {
      std::uint64_t state = state_.load();
      while ((state & open_bit) != 0 && run_number(state) != seen) {
        if (!state_.compare_exchange_weak(state, state + 1)) continue;
        seen = run_number(state);
        work(worker);
        const std::uint64_t left = state_.fetch_sub(1) - 1;
        if ((left & (open_bit | inside_mask)) == 0 && caller_sleeps_.load()) {
          const std::lock_guard lock(sleep_);
          empty_.notify_one();
        }
        break;
      }
    }
  }

  bool news(std::uint64_t seen) const {
    const std::uint64_t state = state_.load();
    return ((state & open_bit) != 0 && run_number(state) != seen) || stopping_.load();
  }

  // Spins for some tens of microseconds, the gap between two ops, then sleeps. False when the pool is closing.
  bool wait_for_run(std::uint64_t seen) {
    for (int spin = 0; spin < spins_ && !news(seen); ++spin) pause();
    if (!news(seen)) {
      std::unique_lock lock(sleep_);
      ++sleepers_;
      wake_.wait(lock, [&] { return news(seen); });
      --sleepers_;
    }
    return !stopping_.load();
  }

  bool empty() const { return (state_.load() & inside_mask) == 0; }

  void wait_until_empty() {
    for (int spin = 0; spin < spins_ && !empty(); ++spin) pause();
    if (empty()) return;
    std::unique_lock lock(sleep_);
    caller_sleeps_.store(true);
    empty_.wait(lock, [&] { return empty(); });
    caller_sleeps_.store(false);
  }

  void stop() {
    {
      const std::lock_guard lock(sleep_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  static void pause() {
#if HONE_X86
    __builtin_ia32_pause();
#else
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
  }

  const int threads_;
  int spins_ = 0;
  std::mutex turn_;  // held through a run
  std::mutex sleep_;
  std::mutex error_guard_;
  std::condition_variable wake_;   // workers wait for a run
  std::condition_variable empty_;  // the caller waits for workers to leave
  std::atomic<bool> stopping_{false};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<int> sleepers_{0};
  alignas(64) std::atomic<std::uint64_t> state_{0};
  alignas(64) std::atomic<std::int64_t> next_{0};
  // The job; written while nobody is inside.
  alignas(64) void* body_ = nullptr;
  Call call_ = nullptr;
  std::int64_t tasks_ = 0;
  std::exception_ptr error_;
  std::vector<std::thread> workers_;
};

}  // namespace hone
