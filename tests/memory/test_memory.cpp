#include <hone/memory/memory.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using hone::Block;
using hone::Category;
using hone::Memory;
using hone::Target;

namespace {

Block take(Memory& memory, std::int64_t bytes, const char* name = "x", Category category = Category::activations) {
  return memory.allocate(bytes, category, name);
}

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const hone::Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("blocks are rounded to the alignment, redzone included, and aligned") {
  Memory memory({.alignment = 256, .redzone = 1}, true);
  CHECK(memory.rounded(256) == 512);
  CHECK(memory.rounded(255) == 256);
  const Block block = take(memory, 1000);
  CHECK(block.bytes == 1024);
  CHECK(reinterpret_cast<std::uintptr_t>(block.data) % 256 == 0);
  CHECK(memory.ledger().device().now == 1024);
  memory.release(block);
  CHECK(memory.ledger().device().now == 0);
}

TEST_CASE("online memory is used again, by size, and the system is asked once") {
  Memory memory({}, true);
  const Block a = take(memory, 1000), b = take(memory, 1000), other = take(memory, 64);
  CHECK(a.data != b.data);
  memory.release(a);
  const Block again = take(memory, 990);
  CHECK(again.data == a.data);
  for (const Block& block : {b, again, other}) memory.release(block);
  const auto asked = memory.system_allocations();
  for (int step = 0; step < 100; ++step) {
    const Block x = take(memory, 1000), y = take(memory, 1000), z = take(memory, 1);
    for (const Block& block : {x, y, z}) memory.release(block);
  }
  CHECK(memory.system_allocations() == asked);
  CHECK(asked == 3);
}

TEST_CASE("a free block up to twice as large is taken, a larger one is not") {
  Memory memory({}, true);
  const Block large = take(memory, 1024);
  memory.release(large);
  const Block half = take(memory, 512);
  CHECK(half.data == large.data);
  CHECK(half.bytes == 512);
  memory.release(half);
  const Block less = take(memory, 448);
  CHECK(less.data != large.data);
  memory.release(less);
  for (int round = 0; round < 3; ++round) memory.release(take(memory, 0));
  CHECK(memory.system_allocations() == 3);
}

TEST_CASE("blocks without bytes are legal, also from a full slab") {
  Memory memory({}, true);
  memory.reserve_slab(Category::weights, 128);
  const Block all = take(memory, 128, "w", Category::weights), none = take(memory, 0, "none", Category::weights);
  CHECK(none.data != nullptr);
  CHECK(none.bytes == 0);
  memory.release(none);
  memory.release(all);
  CHECK(memory.ledger().device().now == 0);
}

TEST_CASE("a slab hands out neighbours, then memory goes online") {
  Memory memory({}, true);
  memory.reserve_slab(Category::gradients, 256);
  const Block a = take(memory, 100, "a", Category::gradients), b = take(memory, 100, "b", Category::gradients);
  const Block late = take(memory, 100, "late", Category::gradients);
  const Block elsewhere = take(memory, 64, "w", Category::weights);
  CHECK(b.data == a.data + 128);
  CHECK(late.cached == 128);
  CHECK(elsewhere.cached == 64);
  CHECK(memory.system_allocations() == 3);
  for (const Block& block : {a, b, late, elsewhere}) memory.release(block);
  memory.reserve_slab(Category::gradients, 64);  // the first went back with its last block
  CHECK(take(memory, 64, "c", Category::gradients).in_slab);
}

TEST_CASE("a budget refuses with the ledger's words, and host memory is not under it") {
  Memory memory({}, true);
  memory.set_budget(1024);
  const Block kept = take(memory, 640, "hidden states");
  const std::string text = message_of([&] { take(memory, 448, "logits", Category::workspace); });
  CHECK(text.find("[memory] workspace / logits wants 448 B (448 B) above the budget of 1.00 KiB (1024 B)") == 0);
  CHECK(text.find("activations / hidden states: 640 B now, 640 B peak") != std::string::npos);
  CHECK_THROWS_AS(take(memory, 448), hone::OutOfMemory);
  CHECK(memory.ledger().device().now == 640);
  const Block rows = take(memory, 5000, "rows", Category::host);
  memory.release(kept);
  const Block all = take(memory, 1024);
  CHECK(memory.ledger().device().now == 1024);
  memory.release(rows);
  memory.release(all);
}

TEST_CASE("poison fills new and recycled blocks with NaN") {
  Memory memory({}, true);
  memory.poison_new_blocks(true);
  for (int round = 0; round < 2; ++round) {
    const Block block = take(memory, 64);
    auto* values = reinterpret_cast<float*>(block.data);
    for (int i = 0; i < 16; ++i) CHECK(values[i] != values[i]);
    std::fill(values, values + 16, 1.0f);
    memory.release(block);
  }
}

TEST_CASE("Meta counts and has nothing") {
  Memory memory({}, false);
  memory.reserve_slab(Category::weights, 1 << 20);
  const Block block = take(memory, std::int64_t{1} << 50);
  CHECK(block.data == nullptr);
  CHECK(memory.ledger().device().now == std::int64_t{1} << 50);
  memory.release(block);
  CHECK(memory.ledger().device().peak == std::int64_t{1} << 50);
  CHECK(memory.system_allocations() == 0);
}

TEST_CASE("a recording is packed and replayed; another step than the planned one is refused") {
  const auto step = [](Memory& memory) {
    const Block a = take(memory, 100, "a"), b = take(memory, 200, "b");
    memory.release(a);
    const Block c = take(memory, 50, "c"), weight = take(memory, 999, "w", Category::weights);
    for (const Block& block : {b, c, weight}) memory.release(block);
    return std::vector{a.data, b.data, c.data};
  };
  Memory plan({}, false);
  plan.start_recording();
  step(plan);
  const auto trace = plan.stop_recording();
  REQUIRE(trace.size() == 3);  // the weight is no temporary
  CHECK(trace[0].bytes == 128);
  CHECK(trace[0].death < trace[2].birth);
  const hone::Packing packing = hone::pack(trace);
  CHECK(packing.slab_bytes == 128 + 256);

  Memory real({}, true);
  real.start_replay(packing);
  const auto first = step(real);
  real.stop_replay();
  real.start_replay(packing);
  CHECK(step(real) == first);
  CHECK(first[0] == first[2]);  // c takes a's place
  CHECK(real.system_allocations() == 2);
  CHECK(real.ledger().of(Category::activations).peak == packing.live_peak);
  CHECK(message_of([&] { take(real, 100, "fourth"); }) ==
        "[memory] allocation 3 of the step (fourth, 128 B) is not the one planned (none left)");
  real.start_replay(packing);
  CHECK(message_of([&] { take(real, 500, "wide"); }) ==
        "[memory] allocation 0 of the step (wide, 512 B) is not the one planned (128 B)");
}
