// What a model writes for prompts of a file, for whoever scores it.
#pragma once

#include "engine.hpp"

#include <hone/eval/generation_metrics.hpp>

#include <functional>
#include <string>
#include <vector>

namespace hone::cli {

/// The greedy text behind each prompt, without its outer spaces. progress(done) is called after each; may be empty.
std::vector<std::string> greedy_texts(const Model& model, const std::vector<std::string>& prompts,
                                      const std::vector<std::int32_t>& stop_ids, std::int64_t max_new_tokens,
                                      const std::function<void(std::size_t)>& progress);

/// The first `limit` prompts of a task, all of them where it is 0.
void keep_first(GenerationTask& task, std::int64_t limit);

}  // namespace hone::cli
