// Attention of one new token on the CPU: the forward pass as it is, whose tasks are few then but long enough.
#pragma once

#include <hone/cpu/attention.hpp>

namespace hone {

namespace kernel {
struct AttentionDecode;
}

/// out (1, heads * head_dim) of the only query q, which sees all of k and v, or with a window the last of them.
template <class T>
void run(Tag<kernel::AttentionDecode>, Cpu& device, const AttentionShape& shape, In<T, 2> q, In<T, 2> k, In<T, 2> v,
         In<std::int32_t, 1> cu_q, In<std::int32_t, 1> cu_k, View<T, 2> out, View<std::byte, 1> workspace) {
  const View<Accumulator<T>, 2> no_lse{nullptr, {0, 0}, 0};
  run(Tag<kernel::AttentionForward>{}, device, shape, q, k, v, cu_q, cu_k, out, no_lse, workspace);
}

}  // namespace hone
