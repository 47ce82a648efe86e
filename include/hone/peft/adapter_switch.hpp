// What the bypasses of one adapter share: its name, whether it acts, how strongly, and on which tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hone {

/// Tokens [begin, begin + count) of a batch.
struct TokenRange {
  std::int64_t begin = 0, count = 0;
};

/// One adapter of a model, which may carry several. A bypass that has been given none acts always.
struct AdapterSwitch {
  std::string name = "default";
  bool active = true;
  double weight = 1;   ///< its change of the output is multiplied by this
  bool mixed = false;  ///< only the tokens of `ranges` see it (evaluation only)
  std::vector<TokenRange> ranges = {};
};

}  // namespace hone
