// How the linears of a model are stored when not in a floating type: plain numbers, named as bitsandbytes and
// transformers' BitsAndBytesConfig name them.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/error.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// nf4: 4-bit NormalFloat in blocks of 64 (Dettmers et al., QLoRA, 2023). int8: absmax of each row (LLM.int8, 2022).
enum class QuantType { nf4, int8 };

constexpr std::string_view name_of(QuantType type) { return type == QuantType::nf4 ? "nf4" : "int8"; }

/// Elements that share one scale in NF4, and scales that share one in double quantisation.
inline constexpr std::int64_t nf4_block = 64, nested_block = 256;

/// What load_in_4bit / load_in_8bit ask for. Embeddings, head, norms and biases are never quantised.
struct Quantisation {
  QuantType type = QuantType::nf4;
  bool double_quant = true;                    ///< bnb_4bit_use_double_quant: the scales of NF4 are quantised as well
  std::vector<std::string> skip_modules = {};  ///< llm_int8_skip_modules: linears that stay as they are

  friend bool operator==(const Quantisation&, const Quantisation&) = default;
};

/// Whether an entry of llm_int8_skip_modules names the module at `path`, as transformers reads it: the path begins with
/// the entry up to a dot ("model.layers.0"), or ends with it ("q_proj").
inline bool is_skipped(const Quantisation& quantisation, std::string_view path) {
  return std::any_of(quantisation.skip_modules.begin(), quantisation.skip_modules.end(), [&](std::string_view entry) {
    if (entry.empty()) return false;
    return path.ends_with(entry) || (path.starts_with(entry) && path[entry.size()] == '.');
  });
}

/// Bytes of the codes and scales of a weight (rows, in), as they are stored.
inline std::int64_t quantised_bytes(const Quantisation& quantisation, std::int64_t rows, std::int64_t in) {
  const std::int64_t elements = checked_mul(rows, in, "quantised weight");
  if (quantisation.type == QuantType::int8) return elements + rows * 4;
  const std::int64_t blocks = ceil_div(elements, nf4_block);
  const std::int64_t scales =
      quantisation.double_quant ? blocks + (ceil_div(blocks, nested_block) + 256 + 1) * 4 : blocks * 4;
  return ceil_div(elements, 2) + scales;
}

}  // namespace hone
