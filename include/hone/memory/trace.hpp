// A trace: which temporaries a step allocated, in order, and when each died. Meta records it, the packer reads it.
#pragma once

#include <cstdint>
#include <vector>

namespace hone {

struct Lifetime {
  std::int64_t bytes = 0;
  std::int64_t birth = 0;  ///< event number of the allocation
  std::int64_t death = 0;  ///< event number of the release, exclusive; the end of the trace if it outlives the step
};

using Trace = std::vector<Lifetime>;

}  // namespace hone
