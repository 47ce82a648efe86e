// What an optimizer step is told besides its tensors. Plain data, the same for every device.
#pragma once

#include <hone/core/checked.hpp>

#include <cstdint>

namespace hone {

/// torch.optim.AdamW's arguments, and what hone adds: the gradient is multiplied by `gradient_scale` as it is read, and
/// a bf16 parameter without a master copy may be rounded stochastically (Philox stream `offset` of `seed`).
struct AdamWScalars {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;
  std::int64_t step = 1;  ///< counts from 1
  double gradient_scale = 1;
  bool stochastic_rounding = false;
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;
};

/// torch.optim.SGD's arguments (no dampening), and the same additions.
struct SgdScalars {
  double learning_rate = 1e-3;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  double gradient_scale = 1;
  bool stochastic_rounding = false;
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;
};

/// Elements SumOfSquares adds up in one partial sum: fixed, so that the norm is the same bits everywhere.
inline constexpr std::int64_t sum_of_squares_block = 65536;
constexpr std::int64_t sum_of_squares_blocks(std::int64_t elements) { return ceil_div(elements, sum_of_squares_block); }

}  // namespace hone
