// Recompute (Chen et al., 2016): y = fn(x), of which only x is kept. Backward runs fn again, recording this time, and
// differentiates that. Random draws inside fn are repeated exactly.
#pragma once

#include <hone/autograd/backward.hpp>
#include <hone/autograd/random.hpp>

#include <tuple>
#include <type_traits>
#include <utility>

namespace hone {

namespace detail {

template <class F, class... Inputs>
struct CheckpointSaved {
  F fn;
  std::tuple<Inputs...> inputs;
  Generator generator;

  template <class Output>
  void backward(const Output& dy) {
    NestedTape nested;
    RestoreGenerator repeat(generator);
    // The inputs keep their slots, so their gradients need no copy; the recomputed output itself is not needed.
    const auto slot = std::apply(fn, std::as_const(inputs)).slot();
    inputs = {};
    if (slot == nullptr) return;
    slot->absorb(dy);
    nested.tape().run_backward();
  }
};

}  // namespace detail

/// fn(x...), recomputed in backward. `fn` takes the tensors, gives one tensor, and must compute the same again; it may
/// use parameters of its own, which get their gradients whether or not x... have any. It is kept until backward, so
/// what it refers to must live as long.
template <class F, class... Inputs>
auto checkpoint(F fn, const Inputs&... x) {
  using Output = std::remove_cvref_t<decltype(fn(x...))>;
  if (!grad_enabled()) return Output(fn(x...));
  const Generator generator = default_generator();
  Output y = [&] {
    PauseRecording pause;
    return fn(x...);
  }();
  record(detail::CheckpointSaved<F, Inputs...>{std::move(fn), {x...}, generator}, y);
  return y;
}

}  // namespace hone
