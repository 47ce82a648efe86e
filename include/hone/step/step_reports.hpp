// What a step tells the host, on its way back from a card: it lands in pinned memory, and is looked at later.
#pragma once

#include <hone/optim/optimizer.hpp>
#include <hone/tensor/graph.hpp>

#include <array>
#include <cstddef>
#include <memory>

namespace hone {

/// What one step did.
struct StepReport {
  OptimizerReport optimizer;
  double loss = 0;  ///< the sum over the step's supervised tokens
};

/// The numbers that go to a card and come back with every step, for the steps whose report has not been taken.
class StepReports {
 public:
  static constexpr std::size_t most = 2;

  /// Sends what the host says about the next step.
  template <Device D>
  void send(const D& device, const StepInput& input, const Tensor<StepNumbers, D>& numbers) {
    check(begun_ - taken_ < most, "[step] {} updates were begun and their reports not taken", most);
    auto& slot = slots_[begun_ % most];
    if (slot == nullptr) slot = std::make_unique<gpu::Pinned>(device, sizeof(Landing));
    slot->wait();
    slot->as<Landing>()->input = input;
    slot->send(device, &numbers.data()->input, sizeof(input), offsetof(Landing, input));
  }
  /// Asks for what came of it.
  template <Device D>
  void fetch(const D& device, const Tensor<StepNumbers, D>& numbers, const Tensor<double, D>& loss) {
    auto& slot = slots_[begun_ % most];
    slot->fetch(device, numbers.data(), sizeof(StepNumbers), offsetof(Landing, numbers));
    slot->fetch(device, loss.data(), sizeof(double), offsetof(Landing, loss));
    ++begun_;
  }
  /// The oldest that has not been taken. Waits for that step.
  StepReport take() {
    check(taken_ < begun_, "[step] there is no update whose report has not been taken");
    auto& slot = slots_[taken_++ % most];
    slot->wait();
    const Landing& landed = *slot->as<Landing>();
    return {report_of(landed.numbers), landed.loss};
  }

 private:
  struct Landing {
    StepInput input;
    StepNumbers numbers;
    double loss = 0;
  };
  std::array<std::unique_ptr<gpu::Pinned>, most> slots_;
  std::size_t begun_ = 0, taken_ = 0;
};

}  // namespace hone
