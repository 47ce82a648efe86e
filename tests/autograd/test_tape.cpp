#include "support/random.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HONE_TEST_COUNTS_NEW 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HONE_TEST_COUNTS_NEW 0
#endif
#endif
#ifndef HONE_TEST_COUNTS_NEW
#define HONE_TEST_COUNTS_NEW 1
#endif

#if HONE_TEST_COUNTS_NEW
// The whole program's operator new, so that a warm step can be seen to ask for nothing.
namespace {
std::atomic<long> news{0};
void* counted(std::size_t bytes, std::size_t alignment) {
  ++news;
  const std::size_t rounded = (bytes + alignment) / alignment * alignment;
  if (void* block = std::aligned_alloc(alignment, rounded); block != nullptr) return block;
  throw std::bad_alloc();
}
}  // namespace
void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, std::max(alignof(std::max_align_t), static_cast<std::size_t>(alignment)));
}
[[gnu::noinline]] void operator delete(void* block) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
#endif

namespace {

using hone::Tensor;
using hone::test::random_tensor;
using T = Tensor<float>;

/// y = x, noting on the way back when it was its turn.
struct Note {
  std::vector<int>* order;
  int number;
  std::shared_ptr<T::Slot> x;
  void backward(const T& dy) const {
    order->push_back(number);
    if (number < 0) hone::fail("[note] {}", number);
    x->absorb(dy);
  }
};
T noted(const T& x, int number, std::vector<int>& order) {
  T y = x.detached();
  if (hone::records(x)) hone::record(Note{&order, number, x.slot()}, y);
  return y;
}

T leaf() {
  T x = T::from({2}, {1, 2});
  x.require_grad();
  return x;
}

}  // namespace

TEST_CASE("backward runs nodes last first, skips what no gradient reaches, and empties the tape") {
  std::vector<int> order;
  T x = leaf();
  const T a = noted(x, 1, order), unused = noted(a, 2, order), b = noted(a, 3, order);
  CHECK(hone::current_tape().size() == 3);
  b.backward(T::from({2}, {5, 6}));
  CHECK(order == std::vector<int>{3, 1});
  CHECK(hone::current_tape().size() == 0);
  CHECK(x.gradient().to_vector() == std::vector<float>{5, 6});
  CHECK_FALSE(unused.slot()->filled());
}

TEST_CASE("an error on the way back empties the tape too") {
  std::vector<int> order;
  T x = leaf();
  const T y = noted(noted(noted(x, 1, order), -2, order), 3, order);
  CHECK_THROWS_WITH(sum(y).backward(), "[note] -2");
  CHECK(order == std::vector<int>{3, -2});
  CHECK(hone::current_tape().size() == 0);
}

TEST_CASE("what backward() is asked is checked") {
  const T plain = T::from({1}, {1});
  CHECK_THROWS_WITH(
      plain.backward(),
      "[autograd] nothing to differentiate: no input of this result requires a gradient, or no_grad was active");
  T x = leaf();
  CHECK_THROWS_WITH(x.backward(),
                    "[autograd] backward() starts at one element, got shape (2,): pass a cotangent of that shape");
  CHECK_THROWS_WITH(x.backward(plain), "[autograd] cotangent of shape (1,) must match the result's shape (2,)");
  CHECK_THROWS_WITH(plain.gradient(),
                    "[autograd] a tensor of shape (1,) has no gradient slot: call require_grad() before it is used");
  CHECK_THROWS_WITH(x.gradient(), "[autograd] no gradient of shape (2,) has been computed");
}

TEST_CASE("nothing is recorded under no_grad, nor for inputs without slots; evaluation is not training") {
  const T x = leaf();
  {
    hone::no_grad guard;
    CHECK_FALSE(hone::grad_enabled());
    CHECK_FALSE(hone::training());
    CHECK_FALSE((x * x).requires_grad());
    {
      hone::NestedTape nested;
      CHECK(hone::grad_enabled());
      CHECK((x + x).requires_grad());
      CHECK(nested.tape().size() == 1);
    }
    CHECK_FALSE(hone::grad_enabled());
  }
  {
    hone::PauseRecording pause;
    CHECK(hone::training());
    CHECK_FALSE((x * x).requires_grad());
  }
  const T plain = x.detached();
  CHECK_FALSE((plain * plain).requires_grad());
  CHECK(hone::current_tape().size() == 0);
}

TEST_CASE("each thread has a tape") {
  const T x = leaf();
  const T y = x * x;
  std::size_t seen = 99;
  std::thread([&] { seen = hone::current_tape().size(); }).join();
  CHECK(seen == 0);
  CHECK(hone::current_tape().size() == 1);
  hone::current_tape().clear();
}

TEST_CASE("storage goes as the tape is walked, and all of it in the end") {
  const hone::Cpu device({.threads = 1});
  const auto now = [&] { return device.memory().ledger().device().now; };
  constexpr int depth = 10;
  T x = T::empty(device, {1024});
  hone::fill(x, 0.5f);
  x.require_grad();
  const std::int64_t before = now(), one = x.bytes();
  {
    T y = x;
    for (int i = 0; i < depth; ++i) y = exp(y) * 0.25;  // exp saves its output, the product nothing
    CHECK(now() - before == (depth + 1) * one);
    T total = sum(y);
    y = {};
    device.memory().reset_peaks();
    total.backward();
  }
  // Never all saved tensors and all gradients at once: a gradient or two beside what is still to be walked.
  CHECK(device.memory().ledger().device().peak - before <= (depth + 3) * one + 256);
  CHECK(now() == before + one);  // the leaf's gradient
}

TEST_CASE("a very deep tape is walked and destroyed without recursion") {
  T x = leaf();
  const auto deep = [&] {
    T y = x;
    for (int i = 0; i < 100000; ++i) y = y + 1;
    return y;
  };
  deep().backward(T::from({2}, {1, 1}));
  CHECK(x.gradient().to_vector() == std::vector<float>{1, 1});
  deep();
  hone::current_tape().clear();
  CHECK(hone::current_tape().size() == 0);
}

TEST_CASE("a warm step asks the system for nothing, neither tensors nor nodes") {
  const hone::Cpu device({.threads = 2});
  T x = random_tensor<float>({8, 16}, 1, -1, 1, device), w = random_tensor<float>({16, 16}, 2, -1, 1, device),
    b = random_tensor<float>({16}, 3, -1, 1, device);
  w.require_grad();
  b.require_grad();
  const auto step = [&] {
    T h = tanh(matmul(x, w, {.transpose_b = true}) + b);
    h = checkpoint([](const T& a) { return softmax(reshape(transpose(a), {16, 8})); }, h * h);
    mean(logsumexp(slice(h, 1, 0, 5), 1)).backward();
    w.slot()->clear();
    b.slot()->clear();
  };
  for (int i = 0; i < 3; ++i) step();
  const auto blocks = device.memory().system_allocations();
#if HONE_TEST_COUNTS_NEW
  const long before = news;
#endif
  for (int i = 0; i < 20; ++i) step();
  CHECK(device.memory().system_allocations() == blocks);
#if HONE_TEST_COUNTS_NEW
  const long after = news;
  CHECK(after - before == 0);
#endif
}

TEST_CASE("a step recorded on Meta is replayed on the processor from one slab, with the same bits") {
  const auto step = []<class D>(const D& device) {
    using X = Tensor<float, D>;
    X x = X::from(device, {8, 16}, std::vector<float>(128, 0.25f), {hone::Category::weights, "x"});
    X w = X::from(device, {16, 16}, std::vector<float>(256, 0.5f), {hone::Category::weights, "w"});
    w.set_slot(std::make_shared<typename X::Slot>(X::empty(device, w.shape(), {hone::Category::gradients, "w"})));
    const auto run = [x, w] {
      w.slot()->clear();
      const X h = checkpoint([](const X& a) { return exp(tanh(a)); }, matmul(x, w));
      hone::sum(hone::log_softmax(hone::concat({h, h * 2}, 1)) * 0.5).backward();
    };
    return std::pair(run, w);
  };
  const hone::Cpu device({.threads = 2});
  const hone::Meta meta(device.target());
  const auto planned = step(meta);
  meta.memory().reset_peaks();
  meta.memory().start_recording();
  planned.first();
  const auto packing = hone::pack(meta.memory().stop_recording());

  const auto real = step(device);
  real.first();
  const auto gradient = [&] { return real.second.gradient().to_vector(); };
  const auto online = gradient();
  device.memory().reset_peaks();
  const auto asked = device.memory().system_allocations();
  for (int round = 0; round < 2; ++round) {
    device.memory().start_replay(packing);
    real.first();
    device.memory().stop_replay();
    CHECK(gradient() == online);
  }
  CHECK(device.memory().system_allocations() == asked + 1);
  CHECK(device.memory().ledger().of(hone::Category::workspace).peak ==
        meta.memory().ledger().of(hone::Category::workspace).peak);
  CHECK(device.memory().ledger().of(hone::Category::activations).peak ==
        meta.memory().ledger().of(hone::Category::activations).peak);
}
