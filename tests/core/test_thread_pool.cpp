#include <hone/core/thread_pool.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using hone::ThreadPool;

TEST_CASE("thread pool: every task runs once, under a worker number in range") {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const std::int64_t tasks : {0, 1, 2, 3, 7, 1000}) {
      std::vector<int> count(static_cast<std::size_t>(tasks), 0);
      std::atomic<bool> in_range{true};
      pool.run(tasks, [&](std::int64_t task, int worker) {
        ++count[static_cast<std::size_t>(task)];
        if (worker < 0 || worker >= threads) in_range = false;
      });
      CHECK(in_range.load());
      CHECK(std::accumulate(count.begin(), count.end(), std::int64_t{0}) == tasks);
      for (const int one : count) CHECK(one == 1);
    }
  }
}

TEST_CASE("thread pool: many short runs in a row see their own job only") {
  ThreadPool pool(3);
  std::vector<std::int64_t> out(5);
  for (std::int64_t round = 0; round < 20000; ++round) {
    const std::int64_t tasks = 1 + round % 5;
    pool.run(tasks, [&](std::int64_t task, int) { out[static_cast<std::size_t>(task)] = round; });
    for (std::int64_t task = 0; task < tasks; ++task) REQUIRE(out[static_cast<std::size_t>(task)] == round);
  }
}

TEST_CASE("thread pool: workers wake from sleep, and a sleeping caller is woken") {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than the spin
    std::atomic<int> arrived{0};
    pool.run(2, [&](std::int64_t task, int) {
      ++arrived;
      while (arrived.load() < 2) std::this_thread::yield();  // both tasks at the same time: two threads work
      if (task == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    });
    CHECK(arrived.load() == 2);
  }
}

TEST_CASE("thread pool: an exception reaches the caller and the pool goes on") {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 20; ++round) {
      std::string text;
      try {
        pool.run(100, [](std::int64_t task, int) {
          if (task == 3) throw std::runtime_error("task three");
        });
      } catch (const std::runtime_error& error) {
        text = error.what();
      }
      CHECK(text == "task three");
      std::atomic<int> done{0};
      pool.run(50, [&](std::int64_t, int) { ++done; });
      CHECK(done.load() == 50);
    }
  }
}

TEST_CASE("thread pool: a nested run executes inline under the task's worker") {
  ThreadPool pool(3), other(2);
  std::atomic<int> inner{0}, strange{0};
  pool.run(20, [&](std::int64_t, int worker) {
    const auto self = std::this_thread::get_id();
    pool.run(7, [&](std::int64_t, int nested) {
      ++inner;
      if (nested != worker || std::this_thread::get_id() != self) ++strange;
    });
    other.run(2, [&](std::int64_t, int nested) {
      ++inner;
      if (nested != 0 || std::this_thread::get_id() != self) ++strange;
    });
  });
  CHECK(inner.load() == 20 * 9);
  CHECK(strange.load() == 0);
}

TEST_CASE("thread pool: callers from several threads take turns") {
  ThreadPool pool(2);
  std::atomic<std::int64_t> sum{0};
  const auto call = [&] {
    for (int round = 0; round < 200; ++round) pool.run(8, [&](std::int64_t task, int) { sum += task; });
  };
  std::thread first(call), second(call);
  first.join();
  second.join();
  CHECK(sum.load() == 2 * 200 * 28);
}

TEST_CASE("thread pool: no thread at all is an error that says so") {
  CHECK_THROWS_WITH_AS(ThreadPool(0), "[thread_pool] got 0 threads, wanted at least 1", hone::Error);
}
