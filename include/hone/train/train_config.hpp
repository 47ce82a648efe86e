// What a training run is told: the canonical keys of flags, YAML and manifests, with their defaults.
#pragma once

#include <hone/core/module_patterns.hpp>
#include <hone/nn/policy.hpp>
#include <hone/optim/schedule.hpp>
#include <hone/text/rows.hpp>
#include <hone/train/stage_losses.hpp>
#include <hone/train/truncation.hpp>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// Files or folders with the names they go by, in their order.
using NamedPaths = std::vector<std::pair<std::string, std::string>>;

/// One run. Members are named as the keys are; a key without a default here depends on the method (see resolved()).
struct TrainConfig {
  std::string model;      ///< Hugging Face folder
  std::string data;       ///< JSONL
  std::string eval_data;  ///< JSONL; empty: val_size of `data` is held out
  double val_size = 0.05;
  std::string output_dir;
  std::string format = "auto";
  std::string method = "lora";  ///< full, lora, ia3, bitfit, bottleneck, prefix, prompt
  std::int64_t lora_r = 16;
  double lora_alpha = 32;
  double lora_dropout = 0;
  bool use_rslora = false;
  bool use_dora = false;
  std::vector<std::string> target_modules = {"all-linear"};
  std::vector<std::string> exclude_modules;
  ModulePatterns<std::int64_t> rank_pattern;  ///< over lora_r; the first key that matches a module decides
  ModulePatterns<double> alpha_pattern;       ///< over lora_alpha
  std::vector<std::int64_t> layers_to_transform;
  std::vector<std::string> layers_pattern;
  std::vector<std::string> modules_to_save;
  NamedPaths stack_on;        ///< folders of frozen LoRAs below the one that trains, by name
  NamedPaths also_evaluate;   ///< JSONL of earlier stages, by name: their losses are told with every validation
  bool load_in_4bit = false;  ///< QLoRA: the linears of the blocks are stored in NF4
  bool load_in_8bit = false;  ///< the same in int8
  std::string bnb_4bit_quant_type = "nf4";
  bool bnb_4bit_use_double_quant = true;                         ///< NF4's scales are quantised as well
  std::vector<std::string> llm_int8_skip_modules;                ///< linears that stay as they are, in either form
  std::vector<std::string> feedforward_modules = {"down_proj"};  ///< of ia3: their input is scaled
  std::string bottleneck = "pfeiffer";                           ///< houlsby, pfeiffer, parallel
  std::optional<double> reduction_factor;                        ///< hidden_size / size; 16, parallel: 2
  std::int64_t bottleneck_size = 0;                              ///< 0: as reduction_factor says
  std::optional<std::string> non_linearity;                      ///< relu, houlsby: swish
  std::optional<double> scaling;                                 ///< 1, parallel: 4
  std::int64_t num_virtual_tokens = 20;                          ///< of prefix and prompt
  bool prefix_projection = false;
  std::int64_t encoder_hidden_size = 0;  ///< of the projection; 0: as wide as the keys
  std::string prompt_tuning_init = "RANDOM";
  std::string prompt_tuning_init_text;
  bool from_scratch = false;    ///< random weights in place of the folder's
  std::string dtype = "auto";   ///< fp32, mixed, bf16; auto: fp32 on the processor
  std::int64_t batch_size = 4;  ///< rows; 0: auto, as many as fit
  std::int64_t gradient_accumulation_steps = 1;
  double num_epochs = 3;
  std::optional<std::int64_t> max_steps;
  std::optional<double> learning_rate;  ///< as the method has it: see resolved_learning_rate()
  std::string lr_scheduler = "cosine";
  double warmup_ratio = 0.03;
  double min_lr_ratio = 0;
  std::string optimizer = "adamw";     ///< adamw, adamw_bf16, adamw_8bit, sgd
  std::optional<double> weight_decay;  ///< 0; full: 0.1
  double max_grad_norm = 1.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double momentum = 0.9;        ///< of sgd
  std::int64_t max_length = 0;  ///< tokens of a row; 0: 1024, or the model's context where that is shorter
  bool packing = false;
  std::string truncation = "drop";
  std::string gradient_checkpointing = "none";  ///< none, selective, full; auto: the least that fits
  std::vector<std::string> offload;  ///< optimizer, activations: kept in the host's memory. The bits are the same
  std::int64_t loss_chunk = 0;       ///< tokens of the output projection at a time, 0: automatic
  std::uint64_t seed = 42;
  std::optional<std::int64_t> eval_steps, save_steps;  ///< once an epoch unless set
  std::int64_t save_total_limit = 2;
  std::int64_t logging_steps = 10;
  std::optional<std::int64_t> early_stopping_patience;
  bool overwrite_output_dir = false;  ///< checkpoints of an earlier run in output_dir are removed
  std::string resume = "false";       ///< false, true (the newest checkpoint of output_dir), or a checkpoint's path
  std::string on_nonfinite = "skip";  ///< skip, stop
  std::string cuda_graphs = "auto";   ///< auto, true, false; auto: on a card. The bits are the same
  std::string gemm_tuning;            ///< file of `hone tune`; empty: the GEMM library chooses its algorithms
  std::int64_t vram_budget = 0;       ///< bytes of the device, 0 = none

  bool full() const { return method == "full"; }
  /// The fewer weights a method has, the further they must go.
  double resolved_learning_rate() const {
    if (learning_rate) return *learning_rate;
    if (full()) return 2e-5;
    if (method == "bottleneck") return 1e-4;
    if (method == "bitfit") return 1e-3;
    if (method == "ia3") return 3e-3;
    if (method == "prefix") return 1e-2;
    return method == "prompt" ? 3e-2 : 2e-4;
  }
  double resolved_weight_decay() const { return weight_decay.value_or(full() ? 0.1 : 0.0); }
};

namespace detail {

inline void check_choice(std::string_view key, std::string_view value,
                         std::initializer_list<std::string_view> choices) {
  std::string list;
  for (const auto choice : choices) {
    if (choice == value) return;
    list += (list.empty() ? "" : ", ") + std::string(choice);
  }
  fail("{}: '{}' is not supported; choose one of {}", key, value, list);
}

inline void check_range(std::string_view key, double value, double low, double high) {
  check(std::isfinite(value) && value >= low && value <= high, "{}: {} must be a number between {} and {}", key, value,
        low, high);
}

inline void check_names(std::string_view key, const NamedPaths& paths) {
  for (std::size_t i = 0; i < paths.size(); ++i) {
    check(!paths[i].first.empty() && !paths[i].second.empty(), "{}: each entry is a path, or name=path", key);
    for (std::size_t j = 0; j < i; ++j)
      check(paths[j].first != paths[i].first, "{}: the name '{}' is given twice", key, paths[i].first);
  }
}

/// What trains on top of other adapters must leave alone what they sit on.
inline void check_stack(const TrainConfig& config) {
  check_names("also_evaluate", config.also_evaluate);
  for (const auto& [name, rows] : config.also_evaluate)
    check(name != this_run, "also_evaluate: '{}' is what the run calls its own rows; choose another name", name);
  check_names("stack_on", config.stack_on);
  if (config.stack_on.empty()) return;
  check(config.method == "lora", "stack_on: only lora trains on top of other adapters, not {}", config.method);
  check(!config.use_dora, "stack_on: DoRA scales what lies below it as well; train without use_dora");
  check(config.modules_to_save.empty(), "stack_on: modules_to_save would change what the adapters below sit on");
  for (const auto& [name, folder] : config.stack_on)
    check(name != "default", "stack_on: 'default' is the name of the adapter that trains; choose another");
}

}  // namespace detail

/// Throws an Error that names the first key whose value no run can have; whether its files are named is not asked.
inline void validate_settings(const TrainConfig& config) {
  using detail::check_choice;
  using detail::check_range;
  check_choice("method", config.method, {"full", "lora", "ia3", "bitfit", "bottleneck", "prefix", "prompt"});
  check_choice("bottleneck", config.bottleneck, {"houlsby", "pfeiffer", "parallel"});
  check_choice("prompt_tuning_init", config.prompt_tuning_init, {"RANDOM", "SAMPLE_VOCAB", "TEXT"});
  check_choice("dtype", config.dtype, {"auto", "fp32", "mixed", "bf16"});
  check_choice("optimizer", config.optimizer, {"adamw", "adamw_bf16", "adamw_8bit", "sgd"});
  check_choice("gradient_checkpointing", config.gradient_checkpointing, {"none", "selective", "full", "auto"});
  for (const std::string& what : config.offload) {
    check_choice("offload", what, {"optimizer", "activations"});
    check(what != "activations" || config.gradient_checkpointing == "full" || config.gradient_checkpointing == "auto",
          "offload: activations are the inputs of recomputed layers, so it wants gradient_checkpointing full, not {}",
          config.gradient_checkpointing);
  }
  check_choice("on_nonfinite", config.on_nonfinite, {"skip", "stop"});
  check_choice("cuda_graphs", config.cuda_graphs, {"auto", "true", "false"});
  detail::check_stack(config);
  schedule_named(config.lr_scheduler);
  truncation_named(config.truncation);
  row_format_named(config.format);
  check(!config.from_scratch || config.full(), "from_scratch: random weights must all be trained; add --method full");
  check_choice("bnb_4bit_quant_type", config.bnb_4bit_quant_type, {"nf4"});
  check(!config.load_in_4bit || !config.load_in_8bit, "load_in_4bit and load_in_8bit exclude each other");
  check_range("val_size", config.val_size, 0, 0.5);
  check_range("learning_rate", config.resolved_learning_rate(), 0, 100);
  check_range("weight_decay", config.resolved_weight_decay(), 0, 10);
  check_range("warmup_ratio", config.warmup_ratio, 0, 1);
  check_range("min_lr_ratio", config.min_lr_ratio, 0, 1);
  check_range("max_grad_norm", config.max_grad_norm, 0, 1e30);
  check_range("adam_beta1", config.adam_beta1, 0, 0.999999999);
  check_range("adam_beta2", config.adam_beta2, 0, 0.999999999999);
  check_range("adam_epsilon", config.adam_epsilon, 0, 1);
  check_range("momentum", config.momentum, 0, 0.999999999);
  check_range("num_epochs", config.num_epochs, 1e-6, 1e6);
  check_range("lora_alpha", config.lora_alpha, -1e9, 1e9);
  check(config.batch_size >= 0 && config.batch_size <= 1 << 20,
        "batch_size: {} must lie between 1 and 1048576, or be auto", config.batch_size);
  check(config.max_length == 0 || config.max_length >= 2, "max_length: {} must be at least 2", config.max_length);
  check(config.gradient_accumulation_steps >= 1 && config.gradient_accumulation_steps <= 1 << 20,
        "gradient_accumulation_steps: {} must lie between 1 and 1048576", config.gradient_accumulation_steps);
  check(config.loss_chunk == 0 || (config.loss_chunk >= 64 && config.loss_chunk <= 1 << 20),
        "loss_chunk: {} must be 0 (automatic) or lie between 64 and 1048576", config.loss_chunk);
  // The batches of every epoch are known before the first step, and listed.
  check(config.max_steps.value_or(1) >= 1 && config.max_steps.value_or(1) <= 1 << 22,
        "max_steps: {} must lie between 1 and 4194304", *config.max_steps);
  for (const auto* steps : {&config.eval_steps, &config.save_steps})
    check(steps->value_or(1) >= 1, "eval_steps and save_steps must be at least 1");
  check(config.save_total_limit >= 1, "save_total_limit: {} must be at least 1", config.save_total_limit);
  check(config.logging_steps >= 1, "logging_steps: {} must be at least 1", config.logging_steps);
  check(config.early_stopping_patience.value_or(1) >= 1, "early_stopping_patience must be at least 1");
}

/// The same for a run that is to be carried out: model, data and output_dir must be named.
inline void validate(const TrainConfig& config) {
  check(!config.model.empty(), "model: a Hugging Face folder is needed (--model FOLDER)");
  check(!config.data.empty(), "data: a JSONL file is needed (--data FILE)");
  check(!config.output_dir.empty(), "output_dir: a folder to write to is needed (--output_dir FOLDER)");
  validate_settings(config);
}

/// The policy of a dtype name; auto is fp32 on the processor.
inline Policy policy_named(std::string_view dtype) {
  if (dtype == "mixed") return policy::mixed;
  if (dtype == "bf16") return policy::bf16;
  check(dtype == "auto" || dtype == "fp32", "dtype: '{}' is not known; choose auto, fp32, mixed or bf16", dtype);
  return policy::fp32;
}

}  // namespace hone
