// Where generation ends.
#pragma once

#include "engine.hpp"

#include <hone/models/generation_config.hpp>

#include <vector>

namespace hone::cli {

/// The ids of generation_config.json, else of config.json, and the EOS that training puts behind every row.
inline std::vector<std::int32_t> stop_ids(const Model& model, const GenerationConfig& file) {
  std::vector<std::int32_t> out;
  for (const auto id : !file.eos_token_ids.empty() ? file.eos_token_ids : model.config().eos_token_ids)
    out.push_back(static_cast<std::int32_t>(id));
  if (const auto eos = model.tokenizer().eos_id()) out.push_back(*eos);
  return out;
}

}  // namespace hone::cli
