// The folder of a run: what a new run finds there, and what this one leaves. A checkpoint that cannot be written is
// reported; the run and what was saved before stay.
#pragma once

#include <hone/train/checkpoint.hpp>
#include <hone/train/run_log.hpp>
#include <hone/train/train_config.hpp>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hone {

class OutputFolder {
 public:
  /// Both live longer.
  OutputFolder(const TrainConfig& config, Console& console)
      : config_(config), console_(console), path_(config.output_dir) {}

  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path stages() const { return path_ / "stages.json"; }

  /// Makes the folder where there is none, and repairs what a killed run left behind.
  void open() const {
    std::filesystem::create_directories(path_);
    settle_run_folder(path_);
  }

  /// The checkpoint that the run is to go on from, if any.
  std::optional<std::filesystem::path> resume_from() const {
    if (config_.resume == "false" || config_.resume.empty()) return std::nullopt;
    if (config_.resume != "true") return std::filesystem::path(config_.resume);
    const auto checkpoints = list_checkpoints(path_);
    if (checkpoints.empty()) return std::nullopt;
    return checkpoints.back().second;
  }

  /// A new run does not mix with an old one: what is there is somebody's work. The old last/ stands until there is a
  /// new one; the old best/ does not, because this run may never have a best of its own.
  void start_afresh() const {
    check_inputs_stay();
    const bool ended = std::filesystem::exists(path_ / "last");
    const bool begun = !list_checkpoints(path_).empty() || std::filesystem::exists(path_ / "best");
    // What is to be resumed and has no checkpoint was killed before its first one.
    check((!ended && (!begun || config_.resume == "true")) || config_.overwrite_output_dir,
          "output_dir: [{}] holds an earlier run; add --resume to go on from its last checkpoint, "
          "--overwrite_output_dir to replace it, or choose another folder",
          path_.string());
    remove_checkpoints_after(path_, -1);
    std::filesystem::remove_all(path_ / "best");
    std::filesystem::remove(metrics());
    std::filesystem::remove(stages());
  }

  /// Removes the checkpoints after `step`: the run does these steps again.
  void repeat_from(std::int64_t step) const { remove_checkpoints_after(path_, step); }

  /// A checkpoint of a TrainingStep, from which a run goes on as `state` says.
  template <class Step>
  void save(Step& step, const TrainerState& state) {
    try_saving(path_ / fmt::format("checkpoint-{}", state.step), [&](const auto& folder) {
      save_checkpoint(step, state, folder, config_.model);
      remove_old_checkpoints(path_, config_.save_total_limit);
    });
  }

  /// What has trained so far, as the best there is.
  template <class Step>
  void save_best(Step& step) {
    try_saving(path_ / "best", [&](const auto& folder) { save_trained(step.model(), folder, config_.model); });
  }

  /// The result of the run; throws where it cannot be written.
  template <class Step>
  void save_last(Step& step) const {
    save_trained(step.model(), path_ / "last", config_.model);
  }

 private:
  /// Throws where this run reads what it would remove or replace.
  void check_inputs_stay() const {
    std::vector<std::pair<std::string, std::filesystem::path>> inputs = {{"model", config_.model}};
    for (const auto& [name, folder] : config_.stack_on) inputs.emplace_back("stack_on", folder);
    for (const auto& [key, input] : inputs) {
      const auto below =
          std::filesystem::weakly_canonical(input).lexically_relative(std::filesystem::weakly_canonical(path_));
      const std::string first = below.empty() ? "" : below.begin()->string();
      check(first != "best" && first != "last" && !first.starts_with("checkpoint-"),
            "output_dir: [{}] is this run's {} and would be replaced; choose another output_dir", input.string(), key);
    }
  }

  template <class Save>
  void try_saving(const std::filesystem::path& folder, const Save& save) {
    try {
      save(folder);
    } catch (const std::exception& error) {
      console_.line(fmt::format("warning: {} was not written, training goes on: {}", folder.string(), error.what()));
    }
  }

  const TrainConfig& config_;
  Console& console_;
  std::filesystem::path path_;
};

}  // namespace hone
