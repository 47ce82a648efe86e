// What a plan is made of: a model, a step, and the sizes of the batches it meets.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/nn/batch.hpp>
#include <hone/step/training_step.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>

namespace hone {

/// Token counts of the batches a run will meet.
struct BatchSizes {
  std::set<std::int64_t> train, evaluate;  ///< multiples of token_multiple
};

/// One training run, and one generation with what it trained.
struct PlanConfig {
  LlamaConfig model = {};
  StepConfig step = {};
  std::int64_t batch_size = 4;                   ///< rows of a batch
  std::int64_t max_length = 1024;                ///< tokens of a row
  std::int64_t gradient_accumulation_steps = 1;  ///< batches of an optimizer step
  std::optional<BatchSizes> batches = {};        ///< of the real rows; else one of batch_size x max_length each
  std::int64_t most_documents = 0;               ///< of a batch, its padding included; 0: batch_size + 1
  std::int64_t max_new_tokens = 256;             ///< the end of a generated sequence of max_length; all but one at most
  bool graphs = true;                            ///< on a card a step's launches are graphs
};

/// Beyond this a batch is a typing error; its tokens are numbered in 32 bits and listed on the host.
inline constexpr std::int64_t most_batch_tokens = std::int64_t{1} << 26;

/// Tokens of a batch of `rows` x `length`, as the trainer rounds them.
inline std::int64_t batch_tokens(std::int64_t rows, std::int64_t length) {
  const std::int64_t tokens = round_up(checked_mul(rows, length, "batch_size x max_length"), token_multiple);
  check(tokens <= most_batch_tokens, "batch_size x max_length: {} x {} tokens; a batch holds at most {}", rows, length,
        most_batch_tokens);
  return tokens;
}

/// The sizes a plan walks.
inline BatchSizes batch_sizes(const PlanConfig& config) {
  if (config.batches) return *config.batches;
  const std::int64_t tokens = batch_tokens(config.batch_size, config.max_length);
  return {{tokens}, {tokens}};
}

/// The most documents of a batch: its rows and its padding.
inline std::int64_t most_documents(const PlanConfig& config) {
  return config.most_documents > 0 ? config.most_documents : config.batch_size + 1;
}

/// Tokens of the prompt that generation is planned for: what max_new_tokens leave of max_length.
inline std::int64_t prompt_length(const PlanConfig& config) {
  return std::max<std::int64_t>(1, config.max_length - config.max_new_tokens);
}

/// Throws an Error that names the first number no run can have.
inline void validate(const PlanConfig& config) {
  validate(config.model, "model");
  check(config.batch_size >= 1, "batch_size: {} must be at least 1", config.batch_size);
  check(config.max_length >= 2, "max_length: {} must be at least 2", config.max_length);
  check(config.max_length <= config.model.max_position_embeddings,
        "max_length: {} is above the model's context of {} tokens (max_position_embeddings)", config.max_length,
        config.model.max_position_embeddings);
  check(config.gradient_accumulation_steps >= 1, "gradient_accumulation_steps: {} must be at least 1",
        config.gradient_accumulation_steps);
  check(config.max_new_tokens >= 0, "max_new_tokens: {} must not be negative", config.max_new_tokens);
  batch_sizes(config);
}

namespace detail {
/// f.operator()<T>() with the element type a policy computes in.
template <class F>
auto with_compute_type(const Policy& policy, F&& f) {
  return policy.compute == DType::bf16 ? f.template operator()<bf16>() : f.template operator()<float>();
}
}  // namespace detail

}  // namespace hone
