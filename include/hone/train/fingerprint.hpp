// A fingerprint of all that decides the bits of a run: a checkpoint goes on only as the run it came from.
#pragma once

#include <hone/io/hash.hpp>
#include <hone/io/read_file.hpp>
#include <hone/io/tensor_files.hpp>
#include <hone/nn/policy.hpp>
#include <hone/train/train_config.hpp>
#include <hone/train/training_data.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

namespace hone {

/// A hash over the configuration of a base model and the first bytes of every tensor: enough to tell two bases apart.
inline std::string base_fingerprint(const TrainConfig& config) {
  Hash hash;
  hash.add(read_file(std::filesystem::path(config.model) / "config.json"));
  if (config.from_scratch) return hash.hex();
  const TensorFiles files(config.model);
  for (const std::string& name : files.names()) {
    const auto bytes = files.bytes(name);
    hash.add(name).add(bytes.data(), std::min<std::size_t>(bytes.size(), 1024));
  }
  return hash.hex();
}

/// The same for an adapter below the one that trains.
inline std::string adapter_fingerprint(const std::filesystem::path& folder) {
  Hash hash;
  hash.add(read_file(folder / "adapter_config.json"));
  const TensorFiles files(folder, "adapter_model");
  for (const std::string& name : files.names()) {
    const auto bytes = files.bytes(name);
    hash.add(name).add(bytes.data(), bytes.size());
  }
  return hash.hex();
}

/// A hash over the base, the rows, in order, and every key that the step or the schedule reads. Keys that only say how
/// often to look, save or print are not among them, nor are gradient_checkpointing, offload and cuda_graphs, which
/// change no bit; gemm_tuning is checked apart, see check_same_gemm_tuning().
inline std::string fingerprint(const TrainConfig& config, const Policy& policy, const TrainingData& data,
                               std::int64_t total_steps) {
  Hash hash;
  hash.add(base_fingerprint(config));
  const auto add = [&](const auto&... values) { (hash.add(fmt::format("{};", values)), ...); };
  for (const auto* examples : {&data.train, &data.valid}) {
    for (const Example& example : *examples) {
      hash.add(example.ids.data(), example.ids.size() * sizeof(std::int32_t));
      for (const bool mark : example.supervised) hash.add(mark ? "1" : "0");
      hash.add("|");
    }
  }
  add(config.method, config.from_scratch, config.lora_r, config.lora_alpha, config.lora_dropout, config.use_rslora,
      config.use_dora);
  for (const auto* names :
       {&config.target_modules, &config.exclude_modules, &config.layers_pattern, &config.modules_to_save}) {
    for (const std::string& name : *names) add(name);
    add("|");
  }
  for (const auto& [key, rank] : config.rank_pattern) add(key, rank);
  for (const auto& [key, alpha] : config.alpha_pattern) add(key, alpha);
  for (const std::int64_t layer : config.layers_to_transform) add(layer);
  for (const auto& [name, folder] : config.stack_on) add(name, adapter_fingerprint(folder));
  add(config.load_in_4bit, config.load_in_8bit, config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant);
  for (const std::string& name : config.llm_int8_skip_modules) add(name);
  add(config.bottleneck, config.reduction_factor.value_or(0), config.bottleneck_size, config.non_linearity.value_or(""),
      config.scaling.value_or(0), config.num_virtual_tokens, config.prefix_projection, config.encoder_hidden_size,
      config.prompt_tuning_init, config.prompt_tuning_init_text);
  for (const std::string& name : config.feedforward_modules) add(name);
  add(policy.name, config.batch_size, config.gradient_accumulation_steps, config.max_length, config.packing,
      config.loss_chunk, config.seed, total_steps);
  add(config.resolved_learning_rate(), config.lr_scheduler, config.warmup_ratio, config.min_lr_ratio);
  add(config.optimizer, config.resolved_weight_decay(), config.max_grad_norm, config.adam_beta1, config.adam_beta2,
      config.adam_epsilon, config.momentum);
  return hash.hex();
}

}  // namespace hone
