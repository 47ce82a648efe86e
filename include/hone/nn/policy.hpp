// Policy: which element types a training run computes, sums and updates in. One struct, never a macro.
#pragma once

#include <hone/core/dtype.hpp>

#include <cstdint>
#include <string_view>

namespace hone {

/// Element type of the gradients that weights collect between two optimizer steps.
enum class GradientPrecision : std::uint8_t {
  same,  ///< the weight's own
  wide,  ///< float for bf16 weights
};

/// How bf16 weights are kept exact enough to train. Float and double weights need none of it.
enum class WeightUpdate : std::uint8_t {
  plain,                ///< rounded to nearest
  master,               ///< a float copy is updated, the weight is its rounding
  stochastic_rounding,  ///< rounded up or down by chance, right on average
};

struct Policy {
  std::string_view name;
  DType compute = DType::f32;  ///< weights and activations
  GradientPrecision gradients = GradientPrecision::same;
  WeightUpdate update = WeightUpdate::plain;
};

namespace policy {
inline constexpr Policy fp32{"fp32", DType::f32, GradientPrecision::same, WeightUpdate::plain};
inline constexpr Policy mixed{"mixed", DType::bf16, GradientPrecision::wide, WeightUpdate::master};
inline constexpr Policy bf16{"bf16", DType::bf16, GradientPrecision::same, WeightUpdate::stochastic_rounding};
}  // namespace policy

}  // namespace hone
