// The key gemm_tuning: what a run's device multiplies by, and what a resumed run is held to.
#include <hone/train/gemm_tuning_scope.hpp>

#include "kernels/timed_library.hpp"
#include "support/files.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace hone;
using namespace hone::test;

TEST_CASE("gemm_tuning: a device goes by the file while the run lasts, and a processor refuses it") {
  const TemporaryFolder folder;
  const std::string file = (folder / "tune.json").string();
  gpu::GemmTuning tuning{TimedLibrary::origin(), {}};
  gpu::GemmShape shape{.a_type = DType::bf16, .b_type = DType::bf16, .c_type = DType::bf16};
  shape.m = shape.n = shape.k = shape.lda = shape.ldb = shape.ldc = 128;
  tuning.choices[shape] = {"fast", 1, 2};
  write_gemm_tuning(tuning, file);

  const Emu device;
  CHECK(GemmTuningScope<Emu>(device, "").hash().empty());
  CHECK(contains(message_of([&] { GemmTuningScope<Emu>(device, file); }), "this device has none"));
  const TimedLibrary library({{"fast", 0.5}});
  {
    const GemmTuningScope<Emu> scope(device, file);
    CHECK(scope.hash() == hash_of(tuning));
    REQUIRE(device.gemm_tuning() != nullptr);
    CHECK(device.gemm_tuning()->algorithm_of(shape) == "fast");
    const GemmTuningScope<Emu> inner(device, "");  // what the device goes by already is told
    CHECK(inner.hash() == scope.hash());
  }
  CHECK(device.gemm_tuning() == nullptr);
  CHECK(contains(message_of([&] { GemmTuningScope<Emu>(device, file + "x"); }), file + "x"));
  CHECK(GemmTuningScope<Cpu>(Cpu{}, "").hash().empty());
  CHECK(message_of([&] { GemmTuningScope<Cpu>(Cpu{}, "tune.json"); }) ==
        "gemm_tuning: [tune.json] chooses algorithms of a card's GEMM library, and this run's device is cpu");
}

TEST_CASE("gemm_tuning: a run tells how many of its products are in the table") {
  const auto of_rows = [](std::int64_t m) { return gpu::GemmShape{.m = m}; };
  const gpu::GemmTuning tuning{TimedLibrary::origin(), {{of_rows(64), {"fast", 1, 2}}, {of_rows(128), {}}}};
  CHECK(gemm_tuning_words(tuning, {of_rows(64), of_rows(128), of_rows(192)}) ==
        fmt::format("GEMM tuning {}: 2 of 3 products are in the table", hash_of(tuning)));
}

TEST_CASE("gemm_tuning: a run resumes with the table it began with") {
  check_same_gemm_tuning("", "", "checkpoint-3");
  check_same_gemm_tuning("ab", "ab", "checkpoint-3");
  CHECK(message_of([] { check_same_gemm_tuning("ab", "cd", "checkpoint-3"); }) ==
        "resume: [checkpoint-3] belongs to a run with the GEMM tuning ab, and this one is with the GEMM tuning cd: its "
        "bits would not be the same; give --gemm_tuning the file that the run began with");
  CHECK(contains(message_of([] { check_same_gemm_tuning("ab", "", "c"); }), "this one is without a GEMM tuning"));
  CHECK(contains(message_of([] { check_same_gemm_tuning("", "cd", "c"); }), "leave --gemm_tuning away"));
}
