// What a part of a step changes on the host besides the device's memory: which gradients hold a sum.
#pragma once

#include <hone/nn/parameter.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

template <Device D>
class GradientState {
 public:
  explicit GradientState(ParameterList<D> parameters) : parameters_(std::move(parameters)) {}

  /// Whether the step has a batch.
  bool begun() const { return begun_; }
  /// A batch is done, before which `tokens` were counted, and has `supervised` more.
  void add_batch(std::int64_t tokens, std::int64_t supervised) {
    begun_ = true;
    parameters_.tokens->count = tokens + supervised;
  }
  void end_step() { begun_ = false; }
  /// The supervised tokens that the gradients are the sum over.
  std::int64_t tokens() const { return parameters_.tokens->count; }

  // As StepGraphs wants it.
  std::vector<bool> saved() const {
    std::vector<bool> out{begun_};
    each([&](const auto& slot) { out.push_back(slot.filled()); });
    return out;
  }
  bool is(const std::vector<bool>& saved) const {
    bool same = saved[0] == begun_;
    std::size_t at = 1;
    each([&](const auto& slot) { same = saved[at++] == slot.filled() && same; });
    return same;
  }
  void become(const std::vector<bool>& saved) {
    begun_ = saved[0];
    std::size_t at = 1;
    each([&](auto& slot) { slot.set_filled(saved[at++]); });
  }

 private:
  template <class F>
  void each(F&& f) const {
    for (const auto& parameter : parameters_.items)
      std::visit([&](const auto& tensor) { f(*tensor.slot()); }, parameter.value);
  }

  ParameterList<D> parameters_;
  bool begun_ = false;
};

}  // namespace hone
