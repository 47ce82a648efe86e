#include <hone/emu/fiber.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace hone::emulator;

namespace {

struct Counting {
  Fiber fiber;
  std::vector<int> seen;
  int laps = 0;
  bool ended = false;

  static void main(void* argument) {
    auto* self = static_cast<Counting*>(argument);
    for (int lap = 0; lap < self->laps; ++lap) {
      self->seen.push_back(lap);
      self->fiber.suspend();
    }
    self->ended = true;
  }
};

}  // namespace

TEST_CASE("fibers take turns and keep their locals") {
  Counting a, b;
  a.laps = 3;
  b.laps = 2;
  a.fiber.start(StackPool::of_this_thread().at(0), &Counting::main, &a);
  b.fiber.start(StackPool::of_this_thread().at(1), &Counting::main, &b);
  for (int turn = 0; turn < 3; ++turn) {
    a.fiber.resume();
    if (turn < 3 && !b.ended) b.fiber.resume();
  }
  CHECK(a.seen == std::vector<int>{0, 1, 2});
  CHECK(b.seen == std::vector<int>{0, 1});
  CHECK(!a.ended);
  CHECK(b.ended);
  a.fiber.resume();
  CHECK(a.ended);
}

TEST_CASE("a fiber's stack is used again") {
  for (int round = 0; round < 100; ++round) {
    Counting one;
    one.laps = 1;
    one.fiber.start(StackPool::of_this_thread().at(0), &Counting::main, &one);
    one.fiber.resume();
    one.fiber.resume();
    CHECK(one.ended);
  }
}

TEST_CASE("an exception is caught inside a fiber") {
  struct Throwing {
    Fiber fiber;
    std::string caught;
    static void main(void* argument) {
      auto* self = static_cast<Throwing*>(argument);
      try {
        hone::fail("thrown {}", 7);
      } catch (const hone::Error& error) {
        self->caught = error.what();
      }
    }
  } thrower;
  thrower.fiber.start(StackPool::of_this_thread().at(2), &Throwing::main, &thrower);
  thrower.fiber.resume();
  CHECK(thrower.caught == "thrown 7");
}
