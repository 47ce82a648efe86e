// How an adapter is folded into a base, and what is said about it.
#pragma once

#include <hone/eval/agreement.hpp>
#include <hone/io/safetensors_writer.hpp>
#include <hone/quant/quantisation.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace hone {

/// What an adapter is merged into.
enum class MergeOnto {
  base,         ///< the folder's weights as they are
  dequantised,  ///< what the adapter saw while it trained: the quantised weights, made dense
  requantised   ///< the same, quantised again once the adapter is in
};

constexpr std::string_view name_of(MergeOnto onto) {
  return onto == MergeOnto::base ? "base" : onto == MergeOnto::dequantised ? "dequantised" : "requantised";
}

struct MergeOptions {
  MergeOnto onto = MergeOnto::base;  ///< what is written
  std::optional<Quantisation> quantization =
      std::nullopt;  ///< of the base while the adapter trained, if not the folder's own
  SaveOptions save = {};
  std::function<void(const std::string&)> note = {};  ///< is told what load_adapter notices; may be empty
};

/// One way to merge, beside the adapter on its base.
struct MergeRow {
  MergeOnto onto = MergeOnto::base;
  Agreement agreement;
  bool written = false;
};

}  // namespace hone
