// From the keys of a run to the step that carries it out.
#pragma once

#include <hone/peft/adapter_folder.hpp>
#include <hone/step/training_step.hpp>
#include <hone/text/tokenizer.hpp>
#include <hone/train/train_config.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// The recompute policy of a value of gradient_checkpointing.
inline Recompute recompute_named(std::string_view name) {
  detail::check_choice("gradient_checkpointing", name, {"none", "selective", "full"});
  return name == "full" ? Recompute::full : name == "selective" ? Recompute::selective : Recompute::none;
}

/// The bottleneck a configuration asks for.
inline Bottleneck bottleneck_of(const TrainConfig& config) {
  Bottleneck out = config.bottleneck == "houlsby"    ? Bottleneck::houlsby()
                   : config.bottleneck == "parallel" ? Bottleneck::parallel()
                                                     : Bottleneck::pfeiffer();
  out.reduction_factor = config.reduction_factor.value_or(out.reduction_factor);
  out.size = config.bottleneck_size;
  if (config.non_linearity) out.non_linearity = activation_named(*config.non_linearity);
  out.scaling = config.scaling.value_or(out.scaling);
  out.seed = config.seed;
  out.validate();
  return out;
}

/// The prompt a configuration asks for. The text it begins with is read with the model's tokenizer; where the model is
/// only a name, as in a plan, any tokens will do.
inline PromptTuning prompt_of(const TrainConfig& config) {
  PromptTuning out{.num_virtual_tokens = config.num_virtual_tokens, .seed = config.seed};
  if (config.prompt_tuning_init == "SAMPLE_VOCAB") out.init = PromptInit::sample_vocab;
  if (config.prompt_tuning_init == "TEXT") {
    check(!config.prompt_tuning_init_text.empty(), "prompt_tuning_init_text: prompt_tuning_init TEXT needs a text");
    out.init = PromptInit::text;
    const std::filesystem::path folder(config.model);
    out.init_ids = {0};
    if (std::filesystem::exists(folder / "tokenizer.json"))
      out.init_ids = Tokenizer::from_folder(folder).encode(config.prompt_tuning_init_text);
  }
  out.validate();
  return out;
}

/// The method a configuration asks for.
inline Method method_of(const TrainConfig& config) {
  if (config.full()) return FullTuning{};
  if (config.method == "ia3") {
    Attached<IA3> out;
    if (config.target_modules != std::vector<std::string>{"all-linear"})
      out.config = {config.target_modules, config.feedforward_modules};
    return out;
  }
  if (config.method == "bitfit") return Attached<BitFit>{};
  if (config.method == "bottleneck") return Attached<Bottleneck>{bottleneck_of(config)};
  if (config.method == "prompt") return Attached<PromptTuning>{prompt_of(config)};
  if (config.method == "prefix")
    return Attached<PrefixTuning>{{.num_virtual_tokens = config.num_virtual_tokens,
                                   .prefix_projection = config.prefix_projection,
                                   .encoder_hidden_size = config.encoder_hidden_size,
                                   .seed = config.seed}};
  return LoraTuning{{.r = config.lora_r,
                     .alpha = config.lora_alpha,
                     .dropout = config.lora_dropout,
                     .use_rslora = config.use_rslora,
                     .seed = config.seed,
                     .use_dora = config.use_dora,
                     .rank_pattern = config.rank_pattern,
                     .alpha_pattern = config.alpha_pattern,
                     .exclude_modules = config.exclude_modules,
                     .layers_to_transform = config.layers_to_transform,
                     .layers_pattern = config.layers_pattern,
                     .modules_to_save = config.modules_to_save},
                    config.target_modules};
}

/// The step a configuration asks for.
inline StepConfig step_config(const TrainConfig& config, const Policy& policy) {
  StepConfig out;
  out.method = method_of(config);
  for (const auto& [name, folder] : config.stack_on) out.stack.push_back(stacked_lora(name, folder));
  out.policy = policy;
  out.recompute = recompute_named(config.gradient_checkpointing);
  out.loss_chunk = config.loss_chunk;
  out.offload = offload_named(config.offload);
  out.seed = config.seed;
  // Norms and biases do not decay, as in transformers' Trainer.
  if (const auto moments = moments_of_adamw(config.optimizer))
    out.optimizer = AdamWOptions{.learning_rate = config.resolved_learning_rate(),
                                 .beta1 = config.adam_beta1,
                                 .beta2 = config.adam_beta2,
                                 .epsilon = config.adam_epsilon,
                                 .weight_decay = config.resolved_weight_decay(),
                                 .decay_vectors = false,
                                 .max_grad_norm = config.max_grad_norm,
                                 .seed = config.seed,
                                 .moments = *moments};
  else
    out.optimizer = SgdOptions{.learning_rate = config.resolved_learning_rate(),
                               .momentum = config.momentum,
                               .weight_decay = config.resolved_weight_decay(),
                               .decay_vectors = false,
                               .max_grad_norm = config.max_grad_norm,
                               .seed = config.seed};
  return out;
}

}  // namespace hone
