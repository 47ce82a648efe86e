// The ops together: on Meta they book what they take on the processor, and bf16 parameters can sum gradients in float.
#include "support/compare.hpp"
#include "support/random.hpp"
#include "support/tensor_ops.hpp"

#include <doctest/doctest.h>

namespace {

using hone::Tensor;
using hone::test::close;

/// Something of everything, forward and backward.
template <hone::Device D>
void everything(const D& device) {
  using T = Tensor<float, D>;
  using Ids = Tensor<std::int32_t, D>;
  T x = hone::randn<float>({6, 8}, device), w = hone::uniform<float>({8, 8}, device),
    b = hone::ones<float>({8}, device);
  const Ids ids = Ids::from(device, {3}, std::vector<std::int32_t>{5, 0, 5});
  w.require_grad();
  b.require_grad();
  T h = hone::dropout(hone::silu(hone::matmul(x, w, {.transpose_b = true}) + b), 0.1);
  h = hone::concat({hone::slice(h, 0, 0, 3), hone::index_select(h, 0, ids)}, 0);
  h = hone::where(h > 0.1, hone::sqrt(hone::abs(h) + 1), h / (1 + h * h));
  h = hone::checkpoint([](const T& a) { return hone::tanh(a) * hone::logsumexp(a, 1, true); }, h);
  h = hone::softmax(hone::transpose(h), 0) - hone::pow(hone::maximum(hone::transpose(h), 0.5), 2);
  const T wide = hone::broadcast_to(hone::reshape(h, {8, 1, 6}), {8, 2, 6});
  const auto half = hone::to<float>(hone::to<hone::bf16>(wide));
  hone::mean(hone::max(half, 2, true) +
             hone::take_along(half, 2, hone::argmax(half, 2, true)) * hone::sum(half, {0, 2}, true))
      .backward();
}

}  // namespace

TEST_CASE("on Meta the ops take what they take on the processor") {
  const hone::Cpu cpu({.threads = 2});
  const hone::Meta meta(cpu.target());
  everything(cpu);
  everything(meta);
  const hone::Ledger &real = cpu.memory().ledger(), &planned = meta.memory().ledger();
  CHECK(real.device().peak > 0);
  CHECK(planned.device() == real.device());
  for (const auto category : hone::all_categories) CHECK(planned.of(category) == real.of(category));
  const auto names = planned.largest(100);
  CHECK(names.size() > 20);
  for (const auto& entry : names) {
    CAPTURE(entry.name);
    CHECK(entry.usage == const_cast<hone::Ledger&>(real).entry(entry.category, entry.name)->usage);
  }
  CHECK(meta.work().flops >= 3 * 2.0 * 6 * 8 * 8 - 2.0 * 6 * 8 * 8);  // the product, and its gradient by w
  CHECK(meta.work().bytes_written > 0);
}

TEST_CASE("bf16 parameters sum their gradients in float, in every op") {
  using B = Tensor<hone::bf16>;
  const auto weight = hone::to<hone::bf16>(hone::test::random_tensor<float>({5, 5}, 1));
  const auto x = hone::to<hone::bf16>(hone::test::random_tensor<float>({4, 5}, 2));
  const auto f = [&](const auto& a, const auto& w) {
    return sum(hone::to<float>(matmul(a, w) + slice(w, 0, 0, 1) * 2 +
                               index_select(w, 0, Tensor<std::int32_t>::from({1}, {3})) +
                               exp(reshape(slice(transpose(w), 0, 1, 2), {5})) + logsumexp(w, 0)));
  };
  B wide = weight;
  wide.set_slot(std::make_shared<B::Slot>(hone::zeros<float>({5, 5}), std::true_type{}));
  f(x, wide).backward();
  Tensor<float> reference = hone::to<float>(weight);
  reference.require_grad();
  f(hone::to<float>(x), reference).backward();
  CHECK(close(wide.slot()->wide_value(), reference.gradient(), 0.02, 0.02));
}
