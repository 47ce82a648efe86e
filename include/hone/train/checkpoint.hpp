// Checkpoints: everything a run needs to go on to the same bits, in a folder that appears complete or not at all.
//   checkpoint-<step>/   the model's part (adapter or full folder), optimizer.safetensors, trainer_state.json
#pragma once

#include <hone/models/llama_folder.hpp>
#include <hone/peft/adapter_folder.hpp>
#include <hone/step/training_step.hpp>
#include <hone/train/stage_losses.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// Where a run stands.
struct TrainerState {
  std::int64_t step = 0;             ///< optimizer steps done, skipped ones included
  std::int64_t epoch = 0;            ///< the epoch the next batch belongs to
  std::int64_t batch = 0;            ///< that batch's number in its epoch
  std::int64_t draws = 0;            ///< batches seen, which number the dropout masks
  std::int64_t optimizer_steps = 0;  ///< steps that updated weights
  std::int64_t skipped = 0;          ///< non-finite steps
  std::int64_t tokens = 0;           ///< supervised tokens seen
  double seconds = 0;                ///< training time so far
  std::optional<double> best_loss;   ///< lowest validation loss
  std::int64_t best_step = 0;
  double best_seconds = 0;        ///< training time until then
  std::vector<StageLoss> losses;  ///< the run's own validation, then those of earlier stages
  std::int64_t evaluations_without_gain = 0;
  std::string isa;          ///< path through the kernels: another one rounds differently
  std::string fingerprint;  ///< of data and configuration: a run resumes only what it began
  std::string gemm_tuning;  ///< hash of the table that chose the GEMM library's algorithms; empty: it chose itself

  nlohmann::json to_json() const {
    return {{"step", step},
            {"epoch", epoch},
            {"batch", batch},
            {"draws", draws},
            {"optimizer_steps", optimizer_steps},
            {"skipped", skipped},
            {"tokens", tokens},
            {"seconds", seconds},
            {"best_loss", best_loss ? nlohmann::json(*best_loss) : nlohmann::json(nullptr)},
            {"best_step", best_step},
            {"best_seconds", best_seconds},
            {"losses", stages_to_json(losses)},
            {"evaluations_without_gain", evaluations_without_gain},
            {"isa", isa},
            {"fingerprint", fingerprint},
            {"gemm_tuning", gemm_tuning}};
  }
  static TrainerState from_json(const nlohmann::json& json, const std::string& origin) {
    const auto count = [&](const char* key) { return get_int(json, key, origin, 0); };
    TrainerState out{count("step"),
                     count("epoch"),
                     count("batch"),
                     count("draws"),
                     count("optimizer_steps"),
                     count("skipped"),
                     count("tokens"),
                     get_double(json, "seconds", origin, 0),
                     find_double(json, "best_loss", origin),
                     count("best_step"),
                     find_double(json, "best_seconds", origin).value_or(0),
                     read_stages(json, "losses", origin),
                     count("evaluations_without_gain"),
                     get_string(json, "isa", origin),
                     get_string(json, "fingerprint", origin),
                     find_string(json, "gemm_tuning", origin).value_or("")};
    // Runs begun earlier had neither a table nor a list of losses.
    if (out.losses.empty() && out.best_loss) out.losses = {{.name = std::string(this_run), .best = out.best_loss}};
    return out;
  }
};

/// Writes what training changed: the adapters, or the whole model. `source` is the folder the base came from.
template <class T, Device D>
void save_trained(Llama<T, D>& model, const std::filesystem::path& folder, const std::filesystem::path& source) {
  if (has_adapters(model))
    save_adapter(model, folder, source.string());
  else
    save_llama(model, folder, source);
}

/// Reads back what save_trained wrote into a model of the same make.
template <class T, Device D>
void load_trained(Llama<T, D>& model, const std::filesystem::path& folder) {
  if (!has_adapters(model)) return read_weights(model, TensorFiles(folder), model.config().tie_word_embeddings);
  if (reload_method(model, folder)) return;
  const TensorFiles files(folder, "adapter_model");
  const auto contents = adapter_contents(model);
  for (const auto& tensor : contents.tensors)
    std::visit([&](const auto& value) { detail::read_tensor(files, tensor.name, value); }, tensor.value);
  contents.finish();
}

/// Writes a complete checkpoint.
template <class T, Device D, Communicator C>
void save_checkpoint(TrainingStep<T, D, C>& step, const TrainerState& state, const std::filesystem::path& folder,
                     const std::filesystem::path& source) {
  AtomicFolder target(folder);
  save_trained(step.model(), target.path() / "model", source);
  NamedTensors<D> tensors;
  step.visit_optimizer_state([&](const std::string& name, const auto& tensor) { tensors.push_back({name, tensor}); });
  if (!tensors.empty())
    write_weights(tensors, target.path(),
                  {.max_shard_size = std::numeric_limits<std::int64_t>::max(), .stem = "optimizer"});
  write_file(target.path() / "trainer_state.json", state.to_json().dump(2) + "\n");
  target.commit();
}

/// Where the run of a checkpoint stands; to be compared before anything is loaded.
inline TrainerState read_trainer_state(const std::filesystem::path& folder) {
  const auto path = folder / "trainer_state.json";
  check(std::filesystem::exists(path), "resume: [{}] is not a checkpoint (it has no trainer_state.json)",
        folder.string());
  return TrainerState::from_json(read_json_file(path), path.string());
}

/// Reads a checkpoint into a step of the same make.
template <class T, Device D, Communicator C>
void load_checkpoint(TrainingStep<T, D, C>& step, const TrainerState& state, const std::filesystem::path& folder) {
  load_trained(step.model(), folder / "model");
  bool has_state = false;
  step.visit_optimizer_state([&](const std::string&, const auto&) { has_state = true; });
  if (has_state) {
    const TensorFiles files(folder / "optimizer.safetensors");
    step.visit_optimizer_state(
        [&](const std::string& name, const auto& tensor) { detail::read_tensor(files, name, tensor); });
  }
  step.set_steps(state.optimizer_steps);
}

/// The complete checkpoints of a run, oldest first.
inline std::vector<std::pair<std::int64_t, std::filesystem::path>> list_checkpoints(
    const std::filesystem::path& output_dir) {
  std::vector<std::pair<std::int64_t, std::filesystem::path>> out;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(output_dir, missing)) {
    const std::string name = entry.path().filename().string(), prefix = "checkpoint-";
    if (!name.starts_with(prefix)) continue;
    std::int64_t step = 0;
    const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
    if (error == std::errc{} && end == name.data() + name.size() &&
        std::filesystem::exists(entry.path() / "trainer_state.json"))
      out.emplace_back(step, entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// Removes the checkpoints after `step`: those of an earlier run, or of the part of a run that is repeated.
inline void remove_checkpoints_after(const std::filesystem::path& output_dir, std::int64_t step) {
  for (const auto& [at, folder] : list_checkpoints(output_dir))
    if (at > step) std::filesystem::remove_all(folder);
}

/// Repairs what a killed run left behind: unfinished folders go, a folder that was being replaced comes back.
inline void settle_run_folder(const std::filesystem::path& output_dir) {
  std::set<std::filesystem::path> targets = {output_dir / "best", output_dir / "last"};
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(output_dir, missing)) {
    const std::string name = entry.path().filename().string();
    const auto infix = std::min(name.find(".tmp-"), name.find(".old-"));
    if (name.starts_with("checkpoint-") && infix != name.npos) targets.insert(output_dir / name.substr(0, infix));
  }
  for (const auto& target : targets) settle_folder(target);
}

/// Removes all but the newest `keep` checkpoints.
inline void remove_old_checkpoints(const std::filesystem::path& output_dir, std::int64_t keep) {
  const auto checkpoints = list_checkpoints(output_dir);
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < checkpoints.size(); ++i) {
    std::error_code ignored;  // a checkpoint that cannot be removed is not worth a run
    std::filesystem::remove_all(checkpoints[i].second, ignored);
  }
}

}  // namespace hone
