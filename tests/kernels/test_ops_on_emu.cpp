// Ops, tape and gradient slots do not know their device: a small network gives the same loss and gradients on the
// emulator as on the processor.
#include "every_device.hpp"

#include <hone/kernels/bias.cuh>
#include <hone/kernels/cross_entropy.cuh>
#include <hone/kernels/dequantise.cuh>
#include <hone/kernels/embedding.cuh>
#include <hone/kernels/fill_copy.cuh>
#include <hone/kernels/matmul.cuh>
#include <hone/kernels/rms_norm.cuh>
#include <hone/kernels/sum.cuh>
#include <hone/kernels/swiglu.cuh>

#include <hone/autograd/backward.hpp>
#include <hone/cpu/fill_copy.hpp>
#include <hone/ops/embedding.hpp>
#include <hone/ops/linear.hpp>
#include <hone/ops/lm_head_cross_entropy.hpp>
#include <hone/ops/rms_norm.hpp>
#include <hone/ops/swiglu.hpp>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

constexpr std::int64_t tokens = 21, vocabulary = 37, width = 24, hidden = 40;

struct Result {
  double loss = 0;
  std::vector<std::vector<double>> gradients;
};

/// embedding -> norm -> linear -> swiglu -> linear -> residual + norm -> output projection tied to the embedding ->
/// loss
template <class T, class D>
Result train_once() {
  const D device = poisoned_device<D>();
  auto table = random_tensor<T, D>({vocabulary, width}, 1, -1, 1, device);
  auto norm_in = random_tensor<T, D>({width}, 2, 0.5, 1.5, device);
  auto gate_up = random_tensor<T, D>({2 * hidden, width}, 3, -0.3, 0.3, device);
  auto bias = random_tensor<T, D>({2 * hidden}, 6, -0.3, 0.3, device);
  auto down = random_tensor<T, D>({width, hidden}, 4, -0.3, 0.3, device);
  auto norm_out = random_tensor<T, D>({width}, 5, 0.5, 1.5, device);
  for (auto* parameter : {&table, &norm_in, &gate_up, &bias, &down, &norm_out}) parameter->require_grad();
  std::vector<std::int32_t> ids, rows, targets;
  for (std::int32_t i = 0; i < tokens; ++i) ids.push_back(i * 11 % 9);
  for (std::int32_t i = 0; i < tokens; i += 2) rows.push_back(i), targets.push_back(i * 5 % 37);
  const auto count = static_cast<std::int64_t>(rows.size());
  const Supervision<D> supervision{Tensor<std::int32_t, D>::from(device, {count}, rows),
                                   Tensor<std::int32_t, D>::from(device, {count}, targets), count};

  const auto x = embedding(Tensor<std::int32_t, D>::from(device, {tokens}, ids), table);
  const auto mixed = linear(swiglu(linear(rms_norm(x, norm_in, 1e-5), gate_up, bias)), down);
  const auto y = add_rms_norm(x, mixed, norm_out, 1e-5).y;
  const auto loss = lm_head_cross_entropy(y, table, supervision);
  Result out{loss.item(), {}};
  loss.backward();
  for (auto* parameter : {&table, &norm_in, &gate_up, &bias, &down, &norm_out})
    out.gradients.push_back(doubles(parameter->gradient()));
  return out;
}

}  // namespace

TEST_CASE_TEMPLATE("a small network trains on Emu as on Cpu", T, float, bf16) {
  const Result wanted = train_once<T, Cpu>(), got = train_once<T, Emu>();
  constexpr bool half = std::is_same_v<T, bf16>;
  CHECK(got.loss == doctest::Approx(wanted.loss).epsilon(half ? 5e-3 : 1e-6));
  REQUIRE(got.gradients.size() == wanted.gradients.size());
  for (std::size_t i = 0; i < wanted.gradients.size(); ++i) {
    CAPTURE(i);
    // Both sides round to T between the ops, in different places of the same chain.
    CHECK(distance(got.gradients[i], wanted.gradients[i]).nmse < (half ? 2e-4 : 1e-11));
  }
}
