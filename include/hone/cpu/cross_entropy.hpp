// Cross-entropy of rows of logits on the CPU; with gradients on, the logits give way to their gradient in place.
//   loss = logsumexp(z) - z_t,  logsumexp(z) = m + ln(sum exp(z - m)),  m = max z
//   dz = scale * (softmax(z) - onehot(t))
#pragma once

#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct CrossEntropy;
}  // namespace kernel

/// A target of this value takes no part in the loss.
inline constexpr std::int32_t ignored_target = -100;

namespace cpu {

/// Loss of one row; writes the gradient over the logits when asked to.
template <class S>
S cross_entropy_row(S* logits, std::int64_t cols, std::int32_t target, bool write_gradient, S scale) {
  S largest = logits[0];
  for (std::int64_t col = 1; col < cols; ++col) largest = std::max(largest, logits[col]);
  const S wanted_logit = logits[target];
  S sum = 0;
  if (!write_gradient) {
    for (std::int64_t col = 0; col < cols; ++col) sum += std::exp(logits[col] - largest);
    return largest + std::log(sum) - wanted_logit;
  }
  for (std::int64_t col = 0; col < cols; ++col) sum += logits[col] = std::exp(logits[col] - largest);
  const S factor = scale / sum;
  for (std::int64_t col = 0; col < cols; ++col) logits[col] *= factor;
  logits[target] -= scale;
  return largest + std::log(sum) - wanted_logit;
}

}  // namespace cpu

/// losses (n) = negative log likelihood of targets[n] under logits (n, V), 0 where the target is ignored_target. With
/// `write_gradient` the logits become scale * (softmax - onehot), 0 in ignored rows. Throws on a target outside [0, V).
template <class S>
void run(Tag<kernel::CrossEntropy>, Cpu& device, View<S, 2> logits, In<std::int32_t, 1> targets,
         std::type_identity_t<View<S, 1>> losses, bool write_gradient, double scale) {
  const std::int64_t cols = logits.extent(1);
  for (std::int64_t row = 0; row < targets.extent(0); ++row)
    check(targets(row) == ignored_target || (targets(row) >= 0 && targets(row) < cols),
          "[cross_entropy] target {} of row {} is outside the {} classes (and is not {}, which means ignored)",
          targets(row), row, cols, ignored_target);
  cpu::for_rows(device, logits.rows(), cols, [&](std::int64_t row) {
    S loss = 0;
    if (targets(row) != ignored_target)
      loss = cpu::cross_entropy_row(logits.row(row), cols, targets(row), write_gradient, static_cast<S>(scale));
    else if (write_gradient)
      std::fill_n(logits.row(row), cols, S{0});
    if (cpu::wanted(losses)) losses(row) = loss;
  });
}

}  // namespace hone
