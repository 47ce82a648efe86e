// Tuning on the emulator, with a library whose times are the test's own: what is chosen, what is refused, and that the
// products a step asks for are those that Meta says it will.
#include "support/files.hpp"
#include "support/random.hpp"
#include "timed_library.hpp"

#include <hone/autograd/backward.hpp>
#include <hone/kernels/bias.cuh>
#include <hone/kernels/dequantise.cuh>
#include <hone/kernels/fill_copy.cuh>
#include <hone/kernels/matmul.cuh>
#include <hone/ops/linear.hpp>
#include <hone/tensor/tune_gemms.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using namespace hone;
using namespace hone::test;

namespace {

constexpr std::int64_t workspace = 1024;

gpu::GemmShape shape_of(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {.a_type = DType::bf16,
          .b_type = DType::bf16,
          .c_type = DType::f32,
          .m = m,
          .n = n,
          .k = k,
          .lda = k,
          .ldb = n,
          .ldc = n + 8,
          .workspace_bytes = workspace};
}

Emu device_with_workspace() {
  return Emu(Target{.kind = DeviceKind::emu, .alignment = 256, .sm = 80, .gemm_workspace = workspace});
}

/// The choice for one shape, with the number of candidates.
std::pair<gpu::GemmChoice, std::size_t> choice_of(const gpu::TuneOptions& options = {}) {
  std::pair<gpu::GemmChoice, std::size_t> out;
  const auto shape = shape_of(128, 128, 128);
  const auto tuning = gpu::tune_gemms(Emu(), {shape}, options,
                                      [&](const gpu::GemmShape& of, const gpu::GemmChoice&, std::size_t candidates) {
                                        CHECK(of == shape);
                                        out.second = candidates;
                                      });
  CHECK(tuning.origin == TimedLibrary::origin());
  REQUIRE(tuning.choices.size() == 1);
  out.first = tuning.choices.at(shape);
  return out;
}

/// c = a b of shape_of(128, 128, 128), a beginning `offset` elements behind an aligned address.
void multiply(const Emu& device, std::int64_t offset = 0) {
  const auto wide = Tensor<bf16, Emu>::empty(device, {128, 136});
  const auto b = Tensor<bf16, Emu>::empty(device, {128, 128});
  const auto c = Tensor<float, Emu>::empty(device, {128, 136});
  gemm(wide.columns(offset, 128), b, c.columns(0, 128), {});
}

gpu::GemmShape shape_multiplied() {
  auto out = shape_of(128, 128, 128);
  out.lda = 136;
  return out;
}

gpu::GemmTuning tuning_for(const gpu::GemmShape& shape, const std::string& algorithm) {
  return {TimedLibrary::origin(), {{shape, {algorithm, 1, 2}}}};
}

}  // namespace

TEST_CASE("tune: the fastest algorithm that repeats its bits is chosen") {
  const TimedLibrary library({{"first", 1.0},
                              {"hardly", 0.99},
                              {"slow", 3.0},
                              {"fast", 0.5},
                              {"fast as well", 0.5},
                              {"counts", 0.25, Repeats::never},
                              {"scratch", 0.2, Repeats::with_workspace},
                              {"absent", 0.1, Repeats::absent}});
  const auto [choice, candidates] = choice_of();
  CHECK(choice.algorithm == "fast");
  CHECK(choice.milliseconds == doctest::Approx(0.5));
  CHECK(choice.first_milliseconds == doctest::Approx(1.0));
  CHECK(choice.gain() == doctest::Approx(2.0));
  CHECK(candidates == 6);  // the first heuristic, and five names that run and repeat
}

TEST_CASE("tune: what gains less than clocks waver leaves the first heuristic") {
  const TimedLibrary library({{"hardly", 0.985}, {"slow", 2.0}});
  CHECK(choice_of().first.algorithm.empty());
  CHECK(choice_of().first.gain() == 1.0);
  CHECK(choice_of({.least_gain = 0.01}).first.algorithm == "hardly");
}

TEST_CASE("tune: each candidate is timed in every round, as often as the first heuristic's speed allows") {
  const TimedLibrary library({{"fast", 0.25}}, 0.5);
  choice_of({.rounds = 3, .round_milliseconds = 2});
  const auto& names = TimedLibrary::names();
  // tried once, twice against itself, then rounds of four, after two to learn how many
  CHECK(std::ranges::count(names, "fast") == 1 + 2 + 3 * 4);
  CHECK(std::ranges::count(names, "") == 1 + 2 + 3 * 4);
}

TEST_CASE("tune: shapes that the library has no algorithm for are left out") {
  const TimedLibrary library({{"fast", 0.5}}, 1, 256);
  std::size_t reported = 0;
  const auto tuning = gpu::tune_gemms(Emu(), {shape_of(128, 128, 128), shape_of(128, 256, 128)}, {},
                                      [&](const auto&, const auto&, std::size_t) { ++reported; });
  CHECK(reported == 1);
  REQUIRE(tuning.choices.size() == 1);
  CHECK(tuning.choices.begin()->first.n == 128);
}

TEST_CASE("tune: a shape whose operands find no memory is reported and left out, the others are kept") {
  const TimedLibrary library({{"fast", 0.5}});
  const Emu device;
  device.memory().set_budget(1 << 20);
  std::vector<std::size_t> candidates;
  const auto tuning = gpu::tune_gemms(device, {shape_of(128, 128, 128), shape_of(4096, 4096, 128)}, {},
                                      [&](const auto&, const auto&, std::size_t of) { candidates.push_back(of); });
  CHECK(candidates == std::vector<std::size_t>{0, 2});
  REQUIRE(tuning.choices.size() == 1);
  CHECK(tuning.choices.begin()->first.m == 128);
  CHECK(device.memory().ledger().device().now == 0);
}

TEST_CASE("tune: no library, or one that fails, is a sentence, and nothing stays allocated") {
  const auto tune = [](const Emu& device) {
    gpu::tune_gemms(device, {shape_of(128, 128, 128)}, {}, [](const auto&, const auto&, std::size_t) {});
  };
  CHECK(message_of([&] { tune(Emu()); }) == "[tune] this device has no GEMM library whose algorithms could be timed");
  const TimedLibrary library({{"fast", 0.5}});
  gpu::emulated_driver().matmul = [](const gpu::MatMulCall&, void*) { return 719; };
  const Emu device;
  CHECK(message_of([&] { tune(device); }) ==
        "[cuda] matmul by the GEMM library failed: a call that the test made fail (status 719)");
  CHECK(device.memory().ledger().device().now == 0);
}

TEST_CASE("a tuning is refused on another card, driver or library, and with names that the library does not offer") {
  const Emu device;
  const auto shape = shape_of(128, 128, 128);
  const auto refusal = [&](const gpu::GemmTuning& tuning) {
    const std::string text = message_of([&] { gpu::use_gemm_tuning(device, tuning, "tune.json"); });
    CHECK(device.gemm_tuning() == nullptr);
    return text;
  };
  CHECK(refusal(tuning_for(shape, "fast")) ==
        "[tune.json] chooses algorithms of a GEMM library, and this device has none");
  const TimedLibrary library({{"fast", 0.5}});
  auto other = tuning_for(shape, "fast");
  other.origin.card = "Another card";
  CHECK(refusal(other) ==
        "[tune.json] was made on Another card (sm_80), driver 13.0, Timed 1, and this is Emulated card (sm_80), driver "
        "13.0, Timed 1: run hone tune here");
  other = tuning_for(shape, "fast");
  other.origin.sm = 90;
  CHECK(contains(refusal(other), "was made on Emulated card (sm_90), driver 13.0"));
  other = tuning_for(shape, "fast");
  other.origin.driver = 12080;
  CHECK(contains(refusal(other), "driver 12.8, Timed 1, and this is"));
  other = tuning_for(shape, "fast");
  other.origin.library = "Timed 2";
  CHECK(contains(refusal(other), "Timed 2, and this is"));
  CHECK(refusal(tuning_for(shape, "gone")) ==
        "[tune.json] names the algorithm 'gone' for the product of 128 x 128 x 128, and the library does not offer it: "
        "run hone tune again");
  gpu::use_gemm_tuning(device, tuning_for(shape, ""), "tune.json");  // the first heuristic is always there
  CHECK(device.gemm_tuning() != nullptr);
}

TEST_CASE("a tuned device names the algorithm of the shapes in its table, where the operands are aligned") {
  const TimedLibrary library({{"fast", 0.5}});
  const Emu device = device_with_workspace();
  const auto names_of = [&](std::int64_t offset) {
    const std::size_t before = TimedLibrary::names().size();
    multiply(device, offset);
    return std::vector(TimedLibrary::names().begin() + static_cast<std::ptrdiff_t>(before),
                       TimedLibrary::names().end());
  };
  using Names = std::vector<std::string>;
  CHECK(names_of(0) == Names{""});
  gpu::use_gemm_tuning(device, tuning_for(shape_multiplied(), "fast"), "t");
  CHECK(names_of(0) == Names{"fast"});
  CHECK(names_of(8) == Names{"fast"});  // 16 bytes on
  CHECK(names_of(4) == Names{""});
  const Emu copy = device;  // a handle on the same device
  CHECK(copy.gemm_tuning() == device.gemm_tuning());
  gpu::use_gemm_tuning(device, tuning_for(shape_of(128, 128, 128), "fast"), "t");
  CHECK(names_of(0) == Names{""});  // that shape has other rows
  device.set_gemm_tuning(nullptr);
  CHECK(names_of(0) == Names{""});
}

namespace {

/// A stack of two weights, forward and backward twice: gradients are written, then added to.
template <class D>
void train_a_linear(const D& device) {
  const auto stack = Tensor<bf16, D>::empty(device, {384, 128});
  std::vector<WeightPart<bf16, D>> parts = {{0, stack.rows(0, 256), {}}, {256, stack.rows(256, 128), {}}};
  for (auto& part : parts) part.weight.require_grad();
  for (int pass = 0; pass < 2; ++pass) {
    auto x = Tensor<bf16, D>::empty(device, {192, 128});
    x.require_grad();
    const auto y = linear(x, Weight<bf16, D>(stack.detached()), std::span<const WeightPart<bf16, D>>(parts));
    y.backward(Tensor<bf16, D>::empty(device, {192, 384}));
  }
}

}  // namespace

TEST_CASE("the products that Meta collects are those that a device asks its library for") {
  const TimedLibrary library({});
  const Emu device = device_with_workspace();
  train_a_linear(device);
  const Meta meta(device.target());
  std::set<gpu::GemmShape> collected;
  meta.collect_products(&collected);
  train_a_linear(meta);
  meta.collect_products(nullptr);
  CHECK(collected == TimedLibrary::shapes());
  CHECK(collected.size() == 6);  // y, dx, and dw of each part, written and added to
  train_a_linear(meta);
  CHECK(collected.size() == 6);
}
