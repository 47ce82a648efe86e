// Loss: the sum of a batch's token losses, with the number of tokens it is the sum of.
#pragma once

#include <hone/autograd/backward.hpp>
#include <hone/nn/parameter.hpp>

#include <memory>

namespace hone {

/// What Model::loss returns. Shown as the mean, differentiated as the sum: backward() adds the gradient of the sum and
/// the token count, and the optimizer divides once by the tokens of its step. Several backward() before one step() are
/// thus gradient accumulation, exact for ragged batches.
template <Device D>
struct Loss {
  Tensor<double, D> sum;  // (1)
  std::int64_t tokens = 0;
  std::shared_ptr<GradientTokens> gradient_tokens;

  /// Mean negative log-likelihood per supervised token; 0 for a batch without any.
  double mean() const { return tokens == 0 ? 0.0 : sum.item() / static_cast<double>(tokens); }

  void backward() {
    sum.backward();
    gradient_tokens->count += tokens;
  }
};

}  // namespace hone
