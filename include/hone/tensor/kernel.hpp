// Kernel dispatch: a kernel is a free function `run(Tag<kernel::Name>, Device&, ...)` that argument-dependent lookup finds.
#pragma once

namespace hone {

/// Names a kernel. `K` may be an incomplete type: files that implement a kernel forward-declare its tag only.
template <class K>
struct Tag {};

}  // namespace hone
