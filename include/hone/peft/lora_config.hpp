// What to attach: PEFT's LoraConfig, its names and defaults, and how it resolves patterns over module names.
#pragma once

#include <hone/core/error.hpp>
#include <hone/core/module_patterns.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace hone {

/// LoRA and its relatives; names and defaults of PEFT's LoraConfig where it has them.
struct LoRA {
  std::int64_t r = 8;
  double alpha = 8;
  double dropout = 0;
  bool use_rslora = false;  ///< scale alpha / sqrt(r) instead of alpha / r
  std::uint64_t seed = 42;  ///< of A's initialisation
  bool use_dora = false;    ///< magnitude and direction of a weight train apart (Liu et al., 2024)
  ModulePatterns<std::int64_t> rank_pattern = {};      ///< other ranks ...
  ModulePatterns<double> alpha_pattern = {};           ///< ... and alphas
  std::vector<std::string> exclude_modules = {};       ///< names, globs or expressions of modules not to touch
  std::vector<std::int64_t> layers_to_transform = {};  ///< empty: all
  std::vector<std::string> layers_pattern = {};        ///< the list those numbers count; empty: any
  std::vector<std::string> modules_to_save = {};       ///< modules that train in full and are saved with the adapter

  double scale() const { return alpha / (use_rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r)); }
  void validate() const {
    check_rank(r);
    check(std::isfinite(alpha), "[lora] alpha must be a finite number");
    check(dropout >= 0 && dropout < 1, "[lora] dropout {} must lie in [0, 1)", dropout);
    for (const auto& [key, rank] : rank_pattern) {
      NamePattern{key};
      check_rank(rank);
    }
    for (const auto& [key, value] : alpha_pattern) {
      NamePattern{key};
      check(std::isfinite(value), "[lora] alpha_pattern: '{}' must be a finite number", key);
    }
    for (const std::int64_t layer : layers_to_transform)
      check(layer >= 0, "[lora] layers_to_transform: {} is not the number of a layer", layer);
  }

  /// The numbers of one module: r and alpha as the patterns have them, and nothing about which modules to pick.
  LoRA resolved(const std::string& module) const {
    return {.r = matching(rank_pattern, module, r),
            .alpha = matching(alpha_pattern, module, alpha),
            .dropout = dropout,
            .use_rslora = use_rslora,
            .seed = seed,
            .use_dora = use_dora};
  }

 private:
  static void check_rank(std::int64_t rank) {
    check(rank >= 1 && rank <= 65536, "[lora] rank r = {} must lie between 1 and 65536", rank);
  }
};

}  // namespace hone
