// One (element type, Cuda) instantiation of everything the command line does with a model.
#pragma once

#include <hone/kernels.cuh>

#include "engine_model.hpp"

#include <hone/cuda.hpp>
#include <hone/train/trainer.hpp>

#include <algorithm>
#include <utility>

namespace hone::cli {

/// Left free on a card that no budget was stated for: kernels are loaded when they first run.
inline constexpr std::int64_t card_headroom = std::int64_t{128} << 20;

template <class T>
class CudaEngine final : public Engine {
 public:
  CudaEngine() : device_(open_card()) {}

  TrainSummary train(const TrainConfig& config, const Policy& policy, Console console,
                     const std::atomic<bool>& stop) const override {
    return hone::train<T>(within_card(config), policy_on_card(config, policy), device_, std::move(console), &stop);
  }
  std::unique_ptr<Model> load(const std::filesystem::path& folder,
                              const std::filesystem::path& adapter) const override {
    return std::make_unique<DeviceModel<T, Cuda>>(device_, folder, adapter);
  }
  std::unique_ptr<Model> load_several(const std::filesystem::path& folder, const std::vector<AdapterSource>& adapters,
                                      Combine combine) const override {
    return std::make_unique<DeviceModel<T, Cuda>>(device_, folder, adapters, combine);
  }
  std::vector<MergeRow> merge(const MergeRequest& request) const override { return merge_folders<T>(device_, request); }

 private:
  /// "auto" is bf16 on a card, with float masters where the base trains.
  static Policy policy_on_card(const TrainConfig& config, const Policy& stated) {
    if (config.dtype != "auto") return stated;
    return config.full() ? policy::mixed : policy::bf16;
  }

  /// A budget holds the context as well; without one, what is free on the card is the budget.
  static TrainConfig within_card(TrainConfig config) {
    const Card card = find_card();
    const std::int64_t free_bytes = std::max<std::int64_t>(1, card.free_bytes - card_headroom);
    if (config.vram_budget == 0) {
      config.vram_budget = free_bytes;
      return config;
    }
    check(config.vram_budget > card.context_bytes, "vram_budget: {} does not even hold the context on {}, {}",
          human_bytes(config.vram_budget), card.name, human_bytes(card.context_bytes));
    config.vram_budget = std::min(config.vram_budget - card.context_bytes, free_bytes);
    return config;
  }

  Cuda device_;
};

}  // namespace hone::cli
