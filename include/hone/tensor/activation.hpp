// Pointwise non-linearities, named as transformers and AdapterHub name them.
#pragma once

#include <hone/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hone {

enum class Activation : std::uint8_t { relu, gelu, swish, tanh, leakyrelu };

inline constexpr std::array<std::string_view, 5> activation_names = {"relu", "gelu", "swish", "tanh", "leakyrelu"};

inline std::string_view name_of(Activation activation) {
  return activation_names[static_cast<std::size_t>(activation)];
}

/// The activation of that name ("silu" is swish), or an Error that opens with `origin`.
inline Activation activation_named(std::string_view name, std::string_view origin = "non_linearity") {
  if (name == "silu") return Activation::swish;
  for (std::size_t i = 0; i < activation_names.size(); ++i)
    if (activation_names[i] == name) return static_cast<Activation>(i);
  fail("{}: '{}' is not known; choose relu, gelu, swish, tanh or leakyrelu", origin, name);
}

}  // namespace hone
