// Attention without a card: rung 2 of the ladder in cuda/hone/study on the emulator, in three thread orders, against
// the formula. docs/emulator.md steps through it in gdb, and takes a barrier away.
//   10_attention_steps
#include <hone/study/attention_02_online_tiles.cuh>
#include <hone/tensor/tensor.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

using namespace hone;

namespace {

constexpr std::int64_t length = 100, dim = study_head_dim;  // two blocks of 64 queries, the second not full

/// Values between -1 and 1.
Tensor<bf16, Emu> values(const Emu& device, std::int64_t step) {
  std::vector<bf16> out;
  for (std::int64_t i = 0; i < length * dim; ++i) out.push_back(bf16(static_cast<float>(i * step % 201 - 100) / 100));
  return Tensor<bf16, Emu>::from(device, {length, dim}, out);
}

/// softmax(scale q k^T) v with the keys a query sees, in double.
std::vector<double> formula(const View<bf16, 2>& q, const View<bf16, 2>& k, const View<bf16, 2>& v, double scale) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < length; ++i) {
    std::vector<double> sums(dim, 0.0);
    double total = 0;
    for (std::int64_t j = 0; j <= i; ++j) {
      double score = 0;
      for (std::int64_t c = 0; c < dim; ++c) score += scale * q(i, c) * k(j, c);
      const double weight = std::exp(score);
      total += weight;
      for (std::size_t c = 0; c < dim; ++c) sums[c] += weight * v(j, static_cast<std::int64_t>(c));
    }
    for (const double sum : sums) out.push_back(sum / total);
  }
  return out;
}

void run(emulator::Order order, const char* name) {
  const emulator::WithSettings settings({.order = order, .seed = 1});
  Emu device;
  const auto q = values(device, 37), k = values(device, 53), v = values(device, 71);
  const auto out = Tensor<float, Emu>::empty(device, {length, dim});
  const auto rows = [](const Tensor<bf16, Emu>& x) { return Rows<const bf16>{x.data(), dim}; };
  const StudyAttention<float> args{.q = rows(q),
                                   .k = rows(k),
                                   .v = rows(v),
                                   .out = {out.data(), dim},
                                   .scores = nullptr,  // of rung 1 alone
                                   .length = static_cast<int>(length),
                                   .heads = 1,
                                   .scale = 0.125f};
  try {
    attention_02(device, args);
  } catch (const Error& error) {
    return static_cast<void>(std::printf("%-9s %s\n", name, error.what()));
  }
  const auto wanted = formula(q.view<2>(), k.view<2>(), v.view<2>(), 0.125);
  const auto got = out.to_vector();
  int wrong = 0, not_numbers = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    wrong += std::abs(static_cast<double>(got[i]) - wanted[i]) < 1e-5 ? 0 : 1;
    not_numbers += std::isnan(got[i]) ? 1 : 0;
  }
  std::printf("%-9s %d of %zu elements wrong, %d of them NaN\n", name, wrong, got.size(), not_numbers);
}

}  // namespace

int main() {
  run(emulator::Order::forward, "forward");
  run(emulator::Order::reversed, "reversed");
  run(emulator::Order::seeded, "seeded");
}
