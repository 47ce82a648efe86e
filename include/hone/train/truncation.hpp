// What becomes of rows that are too long.
#pragma once

#include <hone/core/error.hpp>

#include <array>
#include <string_view>
#include <utility>

namespace hone {

/// What happens to a row longer than max_length.
enum class Truncation {
  drop,   ///< left out, and counted
  left,   ///< loses its first tokens (BOS stays)
  right,  ///< loses its last tokens
  error,  ///< ends the run
};

inline Truncation truncation_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Truncation>, 4> names = {{{"drop", Truncation::drop},
                                                                             {"left", Truncation::left},
                                                                             {"right", Truncation::right},
                                                                             {"error", Truncation::error}}};
  for (const auto& [known, value] : names)
    if (known == name) return value;
  fail("truncation: '{}' is not known; choose drop, left, right or error", name);
}

}  // namespace hone
