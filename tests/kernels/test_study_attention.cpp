// The ladder of attention: every rung is right, and does what its head comment predicts.
#include "every_device.hpp"

#include <hone/study/attention.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

constexpr int dim = study_head_dim;
constexpr float scale = 0.125f;

/// softmax(scale q k^T) v of every head, each query over the keys up to its own.
std::vector<double> reference(int length, int heads, const std::vector<double>& q, const std::vector<double>& k,
                              const std::vector<double>& v) {
  const auto at = [&](int row, int head, int c) { return static_cast<std::size_t>((row * heads + head) * dim + c); };
  std::vector<double> out(q.size(), 0), weights(static_cast<std::size_t>(length));
  for (int head = 0; head < heads; ++head) {
    for (int i = 0; i < length; ++i) {
      double total = 0;
      for (int j = 0; j <= i; ++j) {
        double score = 0;
        for (int c = 0; c < dim; ++c) score += q[at(i, head, c)] * k[at(j, head, c)];
        total += weights[static_cast<std::size_t>(j)] = std::exp(static_cast<double>(scale) * score);
      }
      for (int j = 0; j <= i; ++j)
        for (int c = 0; c < dim; ++c)
          out[at(i, head, c)] += weights[static_cast<std::size_t>(j)] / total * v[at(j, head, c)];
    }
  }
  return out;
}

/// One rung on random q, k and v; what it wrote and what it was counted to do.
template <class C>
struct Climb {
  Climb(StudyRung<StudyAttention<C>> rung, int length, int heads, bool count = false) {
    auto device = poisoned_device<Emu>();
    const Shape shape{length, heads * dim};
    // Scores of some units, so that the running maximum moves.
    const auto q = random_tensor<bf16, Emu>(shape, 1, 0, 2, device),
               k = random_tensor<bf16, Emu>(shape, 2, -1, 2, device);
    const auto v = random_tensor<bf16, Emu>(shape, 3, -1, 1, device);
    const auto out = Tensor<C, Emu>::empty(device, shape);
    const auto scores = Tensor<float, Emu>::empty(device, {heads, length, length});
    emulator::Settings settings = emulator::settings();
    settings.count_requests = count;
    const emulator::WithSettings scope(settings);
    emulator::counters() = {};
    rung(device, {rows_of(q.template in<2>()), rows_of(k.template in<2>()), rows_of(v.template in<2>()),
                  rows_of(out.template view<2>()), scores.template view<3>().data, length, heads, scale});
    counted = emulator::counters();
    got = doubles(out);
    if (!count) want = reference(length, heads, doubles(q), doubles(k), doubles(v));
  }
  std::vector<double> got, want;
  emulator::Counters counted;
};

}  // namespace

TEST_CASE("study: every rung of attention is right, in every order of threads") {
  for (int i = 0; i < 4; ++i) {
    CAPTURE(i + 1);
    std::vector<double> want;
    const auto got = in_every_order<Emu>([&] {
      const Climb<float> climb(attention_rungs<float>[i], i < 2 ? 70 : 130, 2);  // the last block is cut off
      want = climb.want;
      return climb.got;
    });
    if (i < 2)
      CHECK(near<float>(got, want, "out"));
    else
      CHECK(near<bf16>(got, want, "out"));  // weights are rounded before they meet the values
  }
}

TEST_CASE("study: attention's rungs write bf16 too") {
  for (const auto rung : attention_rungs<bf16>) {
    const Climb<bf16> climb(rung, 33, 1);
    CHECK(near<bf16>(climb.got, climb.want, "out"));
  }
}

TEST_CASE("study: attention's rungs do what their comments predict") {
  constexpr int length = 128, heads = 1;
  constexpr std::int64_t scores = heads * length * (length + 1) / 2, result = heads * length * dim * 4;
  constexpr std::int64_t tile = 64 * dim * 2, pairs = heads * 3;  // tiles of queries with the tiles of keys they see
  const Climb<float> passes(&attention_01<float>, length, heads, true),
      online(&attention_02<float>, length, heads, true), cores(&attention_03<float>, length, heads, true),
      pipelined(&attention_04<float>, length, heads, true);
  CHECK(passes.counted.global_store_bytes == 2 * 4 * scores + result);
  CHECK(passes.counted.launches == 3);
  CHECK(online.counted.global_store_bytes == result);
  CHECK(online.counted.global_load_bytes == 2 * tile * pairs + heads * length * dim * 2);
  CHECK(online.counted.shared_load_bytes == 256 * scores);

  CHECK(cores.counted.global_load_bytes == online.counted.global_load_bytes);
  CHECK(cores.counted.global_store_bytes == result);
  CHECK(cores.counted.global_store_sectors == result / 32);
  CHECK(cores.counted.mma_flops == 4 * 64 * 64 * 64 * pairs);
  CHECK(cores.counted.shared_load_bytes == 18 * 64 * 64 * pairs);
  CHECK(cores.counted.shared_bank_conflicts == 0);
  CHECK(cores.counted.barriers == 2 * pairs);

  CHECK(pipelined.counted.global_load_bytes == 0);
  CHECK(pipelined.counted.async_copy_bytes == cores.counted.global_load_bytes);
  CHECK(pipelined.counted.shared_load_bytes == cores.counted.shared_load_bytes);
  CHECK(pipelined.counted.barriers == pairs);
  CHECK(pipelined.got == cores.got);
}
