// SIGINT and SIGTERM as a flag that a run looks at between steps.
#pragma once

#include <atomic>

namespace hone::cli {

/// From now on the first of these signals sets the flag; the second ends the program at once.
const std::atomic<bool>& stop_on_signals();

}  // namespace hone::cli
