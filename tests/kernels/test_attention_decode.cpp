#include "every_device.hpp"

#include <hone/kernels/attention_decode.cuh>
#include <hone/kernels/attention_forward.cuh>
#include <hone/ops/attention.hpp>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

using Values = std::vector<double>;

AttentionShape shape_of(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t window = 0) {
  return {heads, kv_heads, head_dim, window, 1 / std::sqrt(static_cast<double>(head_dim))};
}

/// softmax(scale q k^T) v of every head, over the last keys that the window leaves.
Values formula(const AttentionShape& s, const Values& q, const Values& k, const Values& v, std::int64_t keys) {
  Values out(q.size(), 0.0);
  const std::int64_t first = s.window > 0 ? std::max<std::int64_t>(0, keys - s.window) : 0;
  for (std::int64_t h = 0; h < s.heads; ++h) {
    const std::int64_t of_key = h / (s.heads / s.kv_heads) * s.head_dim, row = s.kv_heads * s.head_dim;
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    Values scores;
    for (std::int64_t j = first; j < keys; ++j) {
      double sum = 0;
      for (std::int64_t c = 0; c < s.head_dim; ++c) sum += q[at(h * s.head_dim + c)] * k[at(j * row + of_key + c)];
      scores.push_back(s.scale * sum);
    }
    const double most = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (double& score : scores) total += score = std::exp(score - most);
    for (std::int64_t j = first; j < keys; ++j)
      for (std::int64_t c = 0; c < s.head_dim; ++c)
        out[at(h * s.head_dim + c)] += scores[at(j - first)] / total * v[at(j * row + of_key + c)];
  }
  return out;
}

/// One token against `keys` cached ones, whose rows lie `edge` columns from the left of wider ones.
template <class T, class D>
struct Call {
  AttentionShape shape;
  std::int64_t keys;
  D device = poisoned_device<D>();
  Tensor<T, D> q, k, v;
  Tensor<std::int32_t, D> cu_q, cu_k;

  Call(const AttentionShape& s, std::int64_t count, std::int64_t edge = 8, double size = 2) : shape(s), keys(count) {
    const auto slice = [&](std::int64_t rows, std::int64_t cols, std::uint64_t seed, double most) {
      return random_tensor<T, D>({rows, cols + 2 * edge}, seed, -most, most, device).columns(edge, cols);
    };
    q = slice(1, s.heads * s.head_dim, 1, size);
    k = slice(keys, s.kv_heads * s.head_dim, 2, 2);
    v = slice(keys, s.kv_heads * s.head_dim, 3, 1);
    cu_q = Tensor<std::int32_t, D>::from(device, {2}, std::vector<std::int32_t>{0, 1});
    cu_k = Tensor<std::int32_t, D>::from(device, {2}, std::vector<std::int32_t>{0, static_cast<std::int32_t>(keys)});
  }

  Verdict follows_the_formula() const {
    const Values got = in_every_order<D>([&] { return joined(attention_cached(q, k, v, cu_q, cu_k, shape)); });
    return near<T>(got, formula(shape, doubles(q), doubles(k), doubles(v), keys),
                   fmt::format("{} keys, {} / {} heads of {}, window {}", keys, shape.heads, shape.kv_heads,
                               shape.head_dim, shape.window));
  }
};

}  // namespace

TEST_CASE_TEMPLATE("attention of one token follows the formula", P, On<Cpu, float>, On<Emu, float>, On<Cpu, bf16>,
                   On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  CHECK(Call<T, D>(shape_of(1, 1, 64), 1).follows_the_formula());
  CHECK(Call<T, D>(shape_of(3, 1, 64), 300).follows_the_formula());        // two parts, the second a tile and a bit
  CHECK(Call<T, D>(shape_of(2, 2, 96), 129).follows_the_formula());        // lanes without a column
  CHECK(Call<T, D>(shape_of(9, 1, 8), 40).follows_the_formula());          // more queries than a block takes
  CHECK(Call<T, D>(shape_of(2, 1, 128, 140), 280).follows_the_formula());  // a window that begins within a tile
  CHECK(Call<T, D>(shape_of(2, 1, 16, 500), 30).follows_the_formula());    // and one wider than everything
  CHECK(Call<T, D>(shape_of(2, 1, 20), 17, 3).follows_the_formula());      // rows without whole vectors
}

TEST_CASE_TEMPLATE("attention of one token: large scores that grow from part to part", D, Cpu, Emu) {
  CHECK(Call<float, D>(shape_of(2, 1, 64), 400, 8, 40).follows_the_formula());
}

TEST_CASE("attention of one token: the parts are as many as the keys and the card allow") {
  const AttentionShape qwen = shape_of(14, 2, 64);
  CHECK(gpu::attention_decode_most_splits(qwen) == 132);
  CHECK(HONE_TARGET::kernel_detail::decode_splits(qwen, 100) == 1);
  CHECK(HONE_TARGET::kernel_detail::decode_splits(qwen, 1024) == 8);
  CHECK(HONE_TARGET::kernel_detail::decode_splits(qwen, 1 << 20) == 132);
  CHECK(gpu::attention_decode_workspace_bytes({}, qwen) == 132 * 14 * 66 * 4);
}

TEST_CASE("attention of one token on Emu: reads keys and values once, and says what does not fit") {
  Call<bf16, Emu> call(shape_of(7, 1, 64), 256);
  emulator::counters() = {};
  attention_cached(call.q, call.k, call.v, call.cu_q, call.cu_k, call.shape);
  const std::int64_t cache = 2 * 256 * 64 * 2, query = 2 * 7 * 64 * 2, parts = 2 * 7 * 64 * 4;
  CHECK(emulator::counters().global_load_bytes >= cache + query + parts);
  CHECK(emulator::counters().global_load_bytes < cache + query + parts + 64 * 1024 / 4);  // and small change
  const auto two = random_tensor<bf16, Emu>({2, 7 * 64}, 1, -1, 1, call.device);
  const auto out = Tensor<bf16, Emu>::empty(call.device, {2, 7 * 64});
  CHECK_THROWS_WITH_AS(run_kernel<kernel::AttentionDecode>(call.device, call.shape, two.in<2>(), call.k.in<2>(),
                                                           call.v.in<2>(), call.cu_q.in<1>(), call.cu_k.in<1>(),
                                                           out.view<2>(), View<std::byte, 1>{nullptr, {0}, 1}),
                       "[attention_decode] 2 queries and 256 keys, wanted one query and some keys", Error);
  CHECK_THROWS_WITH_AS(run_kernel<kernel::AttentionDecode>(call.device, call.shape, call.q.in<2>(), call.k.in<2>(),
                                                           call.v.in<2>(), call.cu_q.in<1>(), call.cu_k.in<1>(),
                                                           out.view<2>(), View<std::byte, 1>{nullptr, {0}, 1}),
                       doctest::Contains("[attention_decode] workspace has 0 bytes, wanted"), Error);
}
