// Choosing tokens where their logits are: what generation keeps on the device between two tokens.
#pragma once

#include <hone/cpu/sample.hpp>
#include <hone/ops/gemm.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/tensor.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace hone {

namespace kernel {
struct Sample;  ///< tensor/sampling_rule.hpp
}

/// Chooses one token after the other; the n-th draw of a seed is the same on every device. Keeps which tokens were
/// there (V bytes) and the last choice on the device.
template <Device D>
class TokenChoice {
 public:
  /// For logits of `vocab_size` tokens; those of `before` were said already.
  TokenChoice(const D& device, std::int64_t vocab_size, const SamplingRule& rule, std::span<const std::int32_t> before)
      : rule_(rule), id_(Tensor<std::int32_t, D>::empty(device, {1}, {Category::activations, "token"})) {
    std::vector<std::uint8_t> marks(static_cast<std::size_t>(vocab_size), 0);
    for (const std::int32_t id : before)
      if (id >= 0 && id < vocab_size) marks[static_cast<std::size_t>(id)] = 1;
    seen_ = Tensor<std::uint8_t, D>::from(device, {vocab_size}, marks, {Category::activations, "tokens seen"});
  }

  /// The token chosen from logits (1, vocab_size), left on the device.
  template <class S>
  const Tensor<std::int32_t, D>& choose(const Tensor<S, D>& logits) {
    check(logits.rank() == 2 && logits.extent(0) == 1 && logits.extent(1) == seen_.extent(0),
          "[sample] logits {} must be (1, {})", logits.shape(), seen_.extent(0));
    const D& device = logits.device();
    const std::int64_t bytes =
        device.target().kind == DeviceKind::cpu ? sample_workspace_bytes(device.target(), logits.extent(1)) : 0;
    const auto scratch = make_workspace(device, bytes, "sample");
    run_kernel<kernel::Sample>(device, logits.template in<2>(), rule_, seen_.template view<1>(), id_.template view<1>(),
                               scratch.template view<1>());
    ++rule_.draw;
    return id_;
  }

  /// The same, read back.
  template <class S>
  std::int32_t next(const Tensor<S, D>& logits) {
    return choose(logits).to_vector().front();
  }

 private:
  SamplingRule rule_;
  Tensor<std::int32_t, D> id_;
  Tensor<std::uint8_t, D> seen_;
};

}  // namespace hone
