// Cross-entropy of rows of logits on the CPU; with gradients on, the logits give way to their gradient in place.
//   loss = logsumexp(z) - z_t,  logsumexp(z) = m + ln(sum exp(z - m)),  m = max z
//   dz = scale * (softmax(z) - onehot(t))
#pragma once

#include <hone/cpu/isa_dispatch.hpp>
#include <hone/cpu/partition.hpp>
#include <hone/cpu/vector_math.hpp>
#include <hone/tensor/kernel.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct CrossEntropy;
}  // namespace kernel

/// A target of this value takes no part in the loss.
inline constexpr std::int32_t ignored_target = -100;

namespace cpu {

template <class S>
struct ShiftedExp {
  const S* x;
  S shift;
  HONE_ALWAYS_INLINE S operator()(std::int64_t i) const { return vector_exp(x[i] - shift); }
};

/// Loss of one row; writes the gradient over the logits when asked to.
template <class S>
struct CrossEntropyRow {
  HONE_ALWAYS_INLINE static void run(S* logits, std::int64_t cols, std::int32_t target, bool write_gradient, S scale,
                                     S* loss) {
    const S largest = vector_max<S>(logits, cols), chosen = logits[target];
    if (!write_gradient) {
      *loss = largest + std::log(lane_sum<S>(cols, ShiftedExp<S>{logits, largest})) - chosen;
      return;
    }
    Lanes<S> sums(S{0});
    std::int64_t col = 0;
    for (; col + lane_count <= cols; col += lane_count)
      for (int l = 0; l < lane_count; ++l) sums.lane[l] += logits[col + l] = vector_exp(logits[col + l] - largest);
    for (int l = 0; col + l < cols; ++l) sums.lane[l] += logits[col + l] = vector_exp(logits[col + l] - largest);
    const S sum = sum_of_lanes(sums), factor = scale / sum;
    for (col = 0; col < cols; ++col) logits[col] *= factor;
    logits[target] -= scale;
    *loss = largest + std::log(sum) - chosen;
  }
};

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
  const auto row_loss =
      isa_path<cpu::CrossEntropyRow<S>, S*, std::int64_t, std::int32_t, bool, S, S*>(device.target().isa);
  cpu::for_ranges(device, logits.rows(), cpu::rows_per_task(cols), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      S loss = 0;
      if (targets(row) != ignored_target)
        row_loss(logits.row(row), cols, targets(row), write_gradient, static_cast<S>(scale), &loss);
      else if (write_gradient)
        std::fill_n(logits.row(row), cols, S{0});
      if (cpu::wanted(losses)) losses(row) = loss;
    }
  });
}

}  // namespace hone
