// What Meta counts: FLOPs of whole steps against closed forms written out here, bytes of kernels, and scratch by the
// kind of device a plan is for.
#include <hone/ops/arithmetic.hpp>
#include <hone/ops/dropout.hpp>
#include <hone/ops/reduce.hpp>
#include <hone/ops/softmax.hpp>
#include <hone/ops/unary.hpp>
#include <hone/step/training_step.hpp>

#include <doctest/doctest.h>

#include "support/tiny_llama.hpp"

using namespace hone;

namespace {

constexpr std::int64_t tokens = 64, length = 16, lora_r = 3;

struct Expected {
  LlamaConfig config;
  std::int64_t layers() const { return config.num_hidden_layers; }
  std::int64_t width() const { return config.hidden_size; }
  std::int64_t heads() const { return config.num_attention_heads; }
  std::int64_t q() const { return heads() * config.head_dim; }
  std::int64_t kv() const { return config.num_key_value_heads * config.head_dim; }
  std::int64_t qkv_weights() const { return (q() + 2 * kv()) * width(); }
  std::int64_t layer_weights() const { return qkv_weights() + q() * width() + 3 * config.intermediate_size * width(); }
  std::int64_t head_weights() const { return config.vocab_size * width(); }

  /// Forward 2 products (4 d) and the softmax (4); backward 7 products (14 d) and twice the softmax (10);
  /// rowsum(dout * out).
  std::int64_t attention(std::int64_t pairs_of_a_document) const {
    const std::int64_t pairs = tokens / length * pairs_of_a_document;
    return layers() * (pairs * heads() * (18 * config.head_dim + 14) + 2 * tokens * q());
  }
  /// Rotations there and back with their table, SwiGLU there and back, the loss, and dx of the supervised rows.
  std::int64_t elementwise() const {
    return layers() * tokens * (2 * 3 * (q() + kv()) + 16 * config.intermediate_size) +
           3 * tokens * config.head_dim / 2 + tokens * (6 * config.vocab_size + 1) + tokens * width();
  }
  /// One norm alone, the others with the addition before them.
  std::int64_t norms_forward() const { return tokens * width() * (4 + 2 * layers() * 5); }

  std::int64_t full(std::int64_t pairs) const {
    const std::int64_t linears = 6 * (layers() * layer_weights() + head_weights()) * tokens;
    // Every norm but the last adds its dx to what reached the residual stream from above.
    const std::int64_t norms = tokens * width() * ((2 * layers() + 1) * (7 + 3) + 2 * layers());
    const std::int64_t embedding = tokens * width();
    return linears + attention(pairs) + elementwise() + norms_forward() + norms + embedding;
  }
  std::int64_t lora(std::int64_t pairs) const {
    // No dW of the base, and nothing below the first layer's adapters has a gradient.
    const std::int64_t base = 4 * (layers() * layer_weights() + head_weights()) * tokens - 2 * qkv_weights() * tokens;
    const std::int64_t f = config.intermediate_size, c = width();
    const std::int64_t in = 3 * c + q() + 2 * c + f, out = q() + 2 * kv() + c + 2 * f + c;  // over a layer's 7 linears
    const std::int64_t adapters = 6 * tokens * lora_r * layers() * (in + out) - 2 * tokens * lora_r * 3 * c;
    const std::int64_t norms = tokens * c * (2 * layers() * 7 + 2 * layers() - 1);
    return base + adapters + attention(pairs) + elementwise() + norms_forward() + norms;
  }
};

Meta::Work work_of_step(const LlamaConfig& config, const Method& method, const Target& target = {},
                        Recompute recompute = Recompute::none) {
  const Meta meta(target);
  Llama<float, Meta> model(config, meta);
  TrainingStep<float, Meta> step(model, {.method = method, .recompute = recompute});
  meta.work() = {};
  step.accumulate(planning_batch(tokens, length), 0);
  return meta.work();
}

const LoraTuning lora{{.r = lora_r, .alpha = 8}, {"all-linear"}};

/// What one kernel call reads and writes.
template <class Run>
Traffic traffic_of(const Meta& meta, Run&& run) {
  meta.work() = {};
  run();
  return {meta.work().bytes_read, meta.work().bytes_written};
}

bool is(const Traffic& traffic, std::int64_t read, std::int64_t written) {
  return traffic.read == read && traffic.written == written;
}

}  // namespace

TEST_CASE("FLOPs of a step are those of the closed form, in full and with LoRA") {
  LlamaConfig config = test::tiny_llama();
  const std::int64_t all_pairs = length * (length + 1) / 2;
  CHECK(work_of_step(config, FullTuning{}).flops == static_cast<double>(Expected{config}.full(all_pairs)));
  CHECK(work_of_step(config, lora).flops == static_cast<double>(Expected{config}.lora(all_pairs)));
  // What is recomputed is counted again: norms and SwiGLU, or a whole layer (whose last addition is then no norm's).
  const std::int64_t cheap = 5 * config.intermediate_size, norms = (4 + 4) * config.hidden_size;
  const auto recomputed = [&](Recompute what) { return work_of_step(config, FullTuning{}, {}, what).flops; };
  const Expected none{config};
  CHECK(recomputed(Recompute::selective) == static_cast<double>(none.full(all_pairs) + 2 * tokens * (cheap + norms)));
  const std::int64_t layer = tokens * (2 * none.layer_weights() + 3 * (none.q() + none.kv()) + cheap + 10 * 24) +
                             tokens / length * all_pairs * 4 * (4 * 8 + 4);
  CHECK(recomputed(Recompute::full) == static_cast<double>(none.full(all_pairs) + 2 * layer));
  config.sliding_window = 5;
  const std::int64_t in_window = 1 + 2 + 3 + 4 + 5 * (length - 4);
  CHECK(work_of_step(config, FullTuning{}).flops == static_cast<double>(Expected{config}.full(in_window)));
  config.qk_norm = true;  // 4 more forward; back 7 for dx and 3 for dw
  const std::int64_t head_norms = 2 * tokens * (4 + 2) * 8 * (4 + 7 + 3);
  CHECK(work_of_step(config, FullTuning{}).flops == static_cast<double>(Expected{config}.full(in_window) + head_norms));
}

TEST_CASE("documents of a planning batch change what is computed, not what is allocated") {
  const auto run = [](std::int64_t document) {
    const Meta meta;
    Llama<float, Meta> model(test::tiny_llama(), meta);
    TrainingStep<float, Meta> step(model, {.method = lora});
    step.accumulate(planning_batch(tokens, document), 0);
    return std::pair(meta.memory().ledger().device().peak, meta.work().flops);
  };
  const auto one = run(0), many = run(10);
  CHECK(one.first == many.first);
  CHECK(one.second > many.second);
}

TEST_CASE("visible pairs: counted one by one") {
  for (const std::int64_t window : {0, 1, 3, 7, 20})
    for (const std::int64_t keys : {1, 2, 7, 12})
      for (std::int64_t queries = 0; queries <= keys; ++queries) {
        std::int64_t pairs = 0;
        for (std::int64_t i = 0; i < queries; ++i)
          for (std::int64_t j = 0; j < keys; ++j)
            pairs += j <= keys - queries + i && (window == 0 || j > keys - queries + i - window) ? 1 : 0;
        CHECK(visible_pairs({.window = window}, queries, keys) == pairs);
      }
  CHECK(visible_pairs({}, 3, 11, 11) == 2 * 10 + 6);      // documents of 4, 4 and 3
  CHECK(visible_pairs({}, 3, 4, 11) == (3 + 4) + 4 + 3);  // 2 of 4, 1 of 4, 1 of 3
  CHECK(visible_pairs({}, 1, 3, 10) == 8 + 9 + 10);       // 3 tokens behind 7 cached ones
}

TEST_CASE("bytes: inputs are read, outputs written, and sums read as well") {
  const Meta meta;
  const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
    return Tensor<float, Meta>::empty(meta, {rows, columns});
  };
  const auto a = matrix(3, 5), b = matrix(5, 7), c = matrix(3, 7);
  CHECK(is(traffic_of(meta, [&] { gemm(a, b, c, {}); }), 4 * (15 + 35), 4 * 21));
  CHECK(is(traffic_of(meta, [&] { gemm(a, b, c, {.accumulate = true}); }), 4 * (15 + 35 + 21), 4 * 21));
  CHECK(is(traffic_of(meta, [&] { copy_into(a, a, true); }), 4 * 30, 4 * 15));
  const auto weight = Tensor<float, Meta>::empty(meta, {5});
  CHECK(is(traffic_of(meta, [&] { (void)rms_norm(a, weight, 1e-5); }), 4 * (15 + 5), 4 * (15 + 3)));
  CHECK(is(traffic_of(meta, [&] { (void)swiglu(matrix(3, 8)); }), 4 * 24, 4 * 12));
  const auto ids = Tensor<std::int32_t, Meta>::empty(meta, {2});
  CHECK(is(traffic_of(meta, [&] { (void)embedding(ids, matrix(1000, 5)); }), 4 * (2 + 10), 4 * 10));
  CHECK(is(traffic_of(meta, [&] { rope_in_place(c.columns(0, 4), 4, matrix(3, 4)); }), 4 * (12 + 12), 4 * 12));
  const Supervision<Meta> supervision{ids, ids, 2};
  const auto x_rows = 4 * (2 + 2 * 2 * 5), product = 4 * (2 * 5 + 5 * 9 + 2 * 9);
  const auto losses = traffic_of(meta, [&] { (void)lm_head_losses(a, matrix(9, 5), supervision); });
  CHECK(losses.read + losses.written == x_rows + product + 4 * (2 * 9 + 2) + 4 * 2);
  // An optimizer step: AdamW reads the master copy, not the weight, and writes both; the norm is one partial sum, from
  // which the step's numbers follow.
  auto leaf = Tensor<bf16, Meta>::empty(meta, {4, 5});
  leaf.require_grad();
  AdamW<Meta> optimizer({{{"w", leaf}}, nullptr}, {.update = WeightUpdate::master});
  leaf.slot()->absorb(leaf);
  CHECK(is(traffic_of(meta, [&] { optimizer.step(); }), 8 + 20 * (2 + 2 + 12),
           8 + static_cast<std::int64_t>(sizeof(StepNumbers)) + 20 * (2 + 12)));
}

TEST_CASE("FLOPs of the other ops: a constant for each element") {
  const Meta meta;
  auto x = Tensor<float, Meta>::empty(meta, {3, 5});
  x.require_grad();
  const auto flops_of = [&](auto&& op, bool backward) {
    meta.work() = {};
    const auto y = op();
    const double forward = meta.work().flops;
    y.backward(y.detached());
    return backward ? meta.work().flops - forward : forward;
  };
  const auto check_op = [&](auto&& op, double forward, double backward) {
    x.require_grad();  // a slot nobody has written to
    CHECK(flops_of(op, false) == forward);
    x.require_grad();
    CHECK(flops_of(op, true) == backward);
  };
  check_op([&] { return relu(x); }, 15, 15);
  check_op([&] { return reshape(x, {15}); }, 0, 0);
  check_op([&] { return softmax(x); }, 60, 60);
  check_op([&] { return sum(x, 0); }, 15, 15);
  check_op([&] { return dropout(x, 0.5); }, 15, 15);
  check_op([&] { return index_select(x, 0, Tensor<std::int32_t, Meta>::empty(meta, {2})); }, 0, 10);
  auto weight = Tensor<float, Meta>::empty(meta, {7, 5}), bias = Tensor<float, Meta>::empty(meta, {7});
  check_op([&] { return linear(x, weight, bias); }, 2 * 3 * 5 * 7 + 21, 2 * 3 * 5 * 7);
  bias.require_grad();
  check_op([&] { return linear(x, weight, bias); }, 2 * 3 * 5 * 7 + 21, 2 * 3 * 5 * 7 + 21);
  Sgd<Meta> optimizer({{{"x", x}}, nullptr}, {.momentum = 0.9});
  x.slot()->absorb(x);
  meta.work() = {};
  optimizer.step();
  CHECK(meta.work().flops == 15 * (2 + 7) + 1);  // the norm, the update, the sum of one partial sum
}

TEST_CASE("scratch is that of the device a plan is for") {
  const Target cpu{.threads = 2}, cuda{.kind = DeviceKind::cuda, .alignment = 256}, emu{.kind = DeviceKind::emu};
  const AttentionShape shape{.heads = 4, .kv_heads = 2, .head_dim = 8};
  using Forward = Tag<kernel::AttentionForward>;
  using Backward = Tag<kernel::AttentionBackward>;
  CHECK(workspace_bytes(Forward{}, cpu, shape, 100) == attention_forward_workspace_bytes(cpu, shape, 100));
  CHECK(workspace_bytes(Backward{}, cpu, shape, 100) == attention_backward_workspace_bytes(cpu, shape, 100));
  CHECK(workspace_bytes(Tag<kernel::RmsNormBackward>{}, cpu, 1000, 24) == rms_norm_workspace_bytes(cpu, 1000, 24));
  CHECK(workspace_bytes(Tag<kernel::QkNormRopeBackward>{}, cpu, 9, 8) == qk_norm_rope_workspace_bytes(cpu, 9, 8));
  for (const Target& gpu : {cuda, emu}) {
    CHECK(workspace_bytes(Forward{}, gpu, shape, 100) == 0);
    CHECK(workspace_bytes(Backward{}, gpu, shape, 100) == 4 * 100 * 4);
    CHECK(workspace_bytes(Tag<kernel::RmsNormBackward>{}, gpu, 1000, 24) == 256 * 24 * 4);
    CHECK(workspace_bytes(Tag<kernel::QkNormRopeBackward>{}, gpu, 9, 8) == 9 * 8 * 4);
  }
  // The same step costs the same FLOPs and bytes on every target, but that a card also copies the loss, a double, to
  // where the step's losses are summed.
  const auto here = work_of_step(test::tiny_llama(), lora, cpu), there = work_of_step(test::tiny_llama(), lora, cuda);
  CHECK(here.flops == there.flops);
  CHECK(here.bytes_read + 8 == there.bytes_read);
  CHECK(here.bytes_written + 8 == there.bytes_written);
}
