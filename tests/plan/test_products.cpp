// The matrix products of a step: which there are, and that they are the whole step's.
#include "small_model.hpp"

#include <hone/plan/products.hpp>
#include <hone/tensor/gpu_state.hpp>

#include <doctest/doctest.h>

#include <algorithm>

using namespace hone;

namespace {

PlanConfig small_run(const Method& method) {
  PlanConfig out;
  out.model = test::small_model();
  out.model.vocab_size = 512;
  out.step.method = method;
  out.step.policy = policy::bf16;
  out.batch_size = 2;
  out.max_length = 512;
  return out;
}

const Target card = gpu::cuda_target(90);

}  // namespace

TEST_CASE("products of training: every linear, forward and backward, large enough and with the library's workspace") {
  const auto products = training_products(small_run(FullTuning{}), card);
  const auto has = [&](std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a, bool transpose_b) {
    return std::ranges::any_of(products, [&](const gpu::GemmShape& one) {
      return one.m == m && one.n == n && one.k == k && one.transpose_a == transpose_a && one.transpose_b == transpose_b;
    });
  };
  constexpr std::int64_t tokens = 1024, hidden = 64, gate_up = 320, inner = 160, vocab = 512;
  CHECK(has(tokens, gate_up, hidden, false, true));   // y
  CHECK(has(tokens, hidden, gate_up, false, false));  // dx
  CHECK(has(inner, hidden, tokens, true, false));     // dw of gate and of up
  CHECK(has(tokens, hidden, inner, false, true));
  CHECK(has(tokens, vocab, hidden, false, true));   // logits
  CHECK(!has(vocab, hidden, tokens, true, false));  // the logits' gradient is float, x is not: no library's product
  for (const gpu::GemmShape& one : products) {
    CHECK(gpu::is_for_library(one));
    CHECK(one.workspace_bytes == card.gemm_workspace);
    CHECK(one.a_type == DType::bf16);
  }
}

TEST_CASE("products of training: gradients are added to from the second batch of a step on; frozen weights have none") {
  auto config = small_run(FullTuning{});
  const auto added = [](const gpu::GemmShape& one) { return one.accumulate && one.transpose_a; };
  const auto once = training_products(config, card);
  CHECK(std::ranges::none_of(once, added));
  config.gradient_accumulation_steps = 3;
  const auto more = training_products(config, card);
  CHECK(std::ranges::any_of(more, added));
  CHECK(std::ranges::includes(more, once));
  const auto lora = training_products(small_run(LoraTuning{{.r = 8}, {"all-linear"}}), card);
  CHECK(std::ranges::none_of(lora, [](const gpu::GemmShape& one) { return one.transpose_a && one.m == 160; }));
}

TEST_CASE("products of training: every size of batch is among them, validation's as well") {
  auto config = small_run(FullTuning{});
  config.batches = BatchSizes{{512, 1024}, {768}};
  const auto products = training_products(config, card);
  for (const std::int64_t tokens : {512, 768, 1024})
    CHECK(std::ranges::any_of(products, [&](const gpu::GemmShape& one) { return one.m == tokens; }));
  CHECK(std::ranges::none_of(products, [](const gpu::GemmShape& one) { return one.transpose_a && one.k == 768; }));
}
