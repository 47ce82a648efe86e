// The seed of random draws: a number, or the place where a device finds it.
#pragma once

#include <hone/core/config.hpp>

#include <cstdint>

namespace hone {

/// What is written down once and done many times (a graph) cannot keep a seed by value, or every run would draw the
/// same: it keeps the address at which the run's seed will stand.
struct DrawSeed {
  std::uint64_t value = 0;
  const std::uint64_t* at = nullptr;  ///< in the device's memory; null: `value` is the seed

  constexpr DrawSeed() = default;
  constexpr DrawSeed(std::uint64_t seed) : value(seed) {}  // any number is a seed
  static constexpr DrawSeed found_at(const std::uint64_t* address) {
    DrawSeed out;
    out.at = address;
    return out;
  }

  /// The number, for code that can follow the address.
  HONE_HOST_DEVICE std::uint64_t get() const { return at == nullptr ? value : *at; }

  friend constexpr bool operator==(const DrawSeed&, const DrawSeed&) = default;
};

}  // namespace hone
