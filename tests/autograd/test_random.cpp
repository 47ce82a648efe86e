#include <hone/autograd/random.hpp>

#include <doctest/doctest.h>

#include <thread>

TEST_CASE("a generator counts what it gave, per thread, and can be sent back for a while") {
  hone::set_seed(42);
  auto& generator = hone::default_generator();
  CHECK(generator.next(10).offset == 0);
  CHECK(generator.next(5).offset == 10);
  const hone::Generator earlier{7, 100};
  {
    hone::RestoreGenerator restore(earlier);
    CHECK(generator.seed == 7);
    CHECK(generator.next(3).offset == 100);
  }
  CHECK(generator.seed == 42);
  CHECK(generator.offset == 15);
  std::uint64_t other = 99;
  std::thread([&] { other = hone::default_generator().offset; }).join();
  CHECK(other == 0);
}
