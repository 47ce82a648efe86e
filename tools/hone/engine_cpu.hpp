// One (element type, Cpu) instantiation of everything the command line does with a model.
#pragma once

#include "engine_model.hpp"

#include <hone/train/trainer.hpp>

#include <utility>

namespace hone::cli {

template <class T>
class CpuEngine final : public Engine {
 public:
  explicit CpuEngine(const EngineOptions& options) : device_(Cpu::Options{.threads = options.threads}) {}
  TrainSummary train(const TrainConfig& config, const Policy& policy, Console console,
                     const std::atomic<bool>& stop) const override {
    return hone::train<T>(config, policy, device_, std::move(console), &stop);
  }
  std::unique_ptr<Model> load(const std::filesystem::path& folder,
                              const std::filesystem::path& adapter) const override {
    return std::make_unique<DeviceModel<T, Cpu>>(device_, folder, adapter);
  }

  std::unique_ptr<Model> load_several(const std::filesystem::path& folder, const std::vector<AdapterSource>& adapters,
                                      Combine combine) const override {
    return std::make_unique<DeviceModel<T, Cpu>>(device_, folder, adapters, combine);
  }
  std::vector<MergeRow> merge(const MergeRequest& request) const override { return merge_folders<T>(device_, request); }

 private:
  Cpu device_;
};

}  // namespace hone::cli
