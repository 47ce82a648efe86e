// reserve: for loops written by hand, take what the largest batch needs before the first step.
#pragma once

#include <hone/autograd/random.hpp>
#include <hone/models/llama.hpp>

#include <cstdint>
#include <vector>

namespace hone {

struct ReserveOptions {
  std::int64_t batch = 4;      ///< rows of the largest batch
  std::int64_t length = 1024;  ///< tokens of its rows
};

/// Takes the memory of the largest batch at once, by running one and dropping its gradients: from then on a batch of
/// that size asks the system for nothing, and a smaller one for next to nothing. Call it after the optimizer was made
/// and before the first backward(); an Error if gradients were already collected. (The trainer's memory is planned
/// instead.)
template <class T, Device D>
void reserve(Llama<T, D>& model, const ReserveOptions& options) {
  check(options.batch >= 1 && options.length >= 2, "[reserve] batch {} and length {} must be at least 1 and 2",
        options.batch, options.length);
  const auto parameters = model.trainable_parameters();
  const auto each_slot = [&](auto&& f) {
    for (const auto& parameter : parameters.items)
      std::visit([&](const auto& tensor) { f(*tensor.slot()); }, parameter.value);
  };
  each_slot([](const auto& slot) {
    check(!slot.filled(), "[reserve] gradients were already collected; call reserve() before the first backward()");
  });
  const std::vector<Example> rows(static_cast<std::size_t>(options.batch),
                                  {std::vector<std::int32_t>(static_cast<std::size_t>(options.length), 0),
                                   std::vector<bool>(static_cast<std::size_t>(options.length), true)});
  const RestoreGenerator draws(default_generator());  // the loop's dropout is the same with and without this
  model.loss(make_batch(rows)).backward();
  each_slot([](auto& slot) { slot.clear(); });
  parameters.tokens->count = 0;
}

}  // namespace hone
