// From the keys of a run to the step that carries it out.
#pragma once

#include <hone/step/training_step.hpp>
#include <hone/train/train_config.hpp>

#include <string_view>

namespace hone {

/// The recompute policy of a value of gradient_checkpointing.
inline Recompute recompute_named(std::string_view name) {
  detail::check_choice("gradient_checkpointing", name, {"none", "selective", "full"});
  return name == "full" ? Recompute::full : name == "selective" ? Recompute::selective : Recompute::none;
}

/// The step a configuration asks for.
inline StepConfig step_config(const TrainConfig& config, const Policy& policy) {
  StepConfig out;
  if (config.full())
    out.method = FullTuning{};
  else
    out.method = LoraTuning{{.r = config.lora_r,
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
  out.policy = policy;
  out.recompute = recompute_named(config.gradient_checkpointing);
  out.loss_chunk = config.loss_chunk;
  out.seed = config.seed;
  // Norms and biases do not decay, as in transformers' Trainer.
  if (config.optimizer == "adamw")
    out.optimizer = AdamWOptions{.learning_rate = config.resolved_learning_rate(),
                                 .beta1 = config.adam_beta1,
                                 .beta2 = config.adam_beta2,
                                 .epsilon = config.adam_epsilon,
                                 .weight_decay = config.resolved_weight_decay(),
                                 .decay_vectors = false,
                                 .max_grad_norm = config.max_grad_norm,
                                 .seed = config.seed};
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
