// What a piece of memory is for. Every allocation has one of these and a name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hone {

/// `host` (staging, and what a step keeps in the host's memory) is counted apart from the device's bytes.
enum class Category : std::uint8_t { weights, gradients, optimizer, activations, workspace, kv_cache, host };

inline constexpr std::array all_categories = {Category::weights,     Category::gradients, Category::optimizer,
                                              Category::activations, Category::workspace, Category::kv_cache,
                                              Category::host};

constexpr std::size_t index_of(Category category) { return static_cast<std::size_t>(category); }

/// Bytes by category, at index_of(category).
using CategoryBytes = std::array<std::int64_t, all_categories.size()>;

constexpr std::string_view name_of(Category category) {
  constexpr std::array<std::string_view, all_categories.size()> names = {
      "weights", "gradients", "optimizer", "activations", "workspace", "kv_cache", "host"};
  return names[index_of(category)];
}

/// Activations and workspace live for a part of one step; their offsets are packed ahead of time and replayed.
constexpr bool is_temporary(Category category) {
  return category == Category::activations || category == Category::workspace;
}

}  // namespace hone
