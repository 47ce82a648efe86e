// What attention is told besides its tensors. Plain data, the same for every device.
#pragma once

#include <cstdint>

namespace hone {

/// Causal attention over packed documents, bottom-right aligned: in a document with a queries and b >= a keys, query i
/// sees the keys j with j <= b - a + i, and with a window only those with j > b - a + i - window.
struct AttentionShape {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  ///< divides heads; query head h reads key head h / (heads / kv_heads)
  std::int64_t head_dim = 0;
  std::int64_t window = 0;  ///< 0: none
  double scale = 1;         ///< of the scores; 1 / sqrt(head_dim) as a rule
};

}  // namespace hone
