#include "scoring.hpp"

namespace hone::cli {

std::vector<std::string> greedy_texts(const Model& model, const std::vector<std::string>& prompts,
                                      const std::vector<std::int32_t>& stop_ids, std::int64_t max_new_tokens,
                                      const std::function<void(std::size_t)>& progress) {
  std::vector<std::string> texts;
  for (const std::string& prompt : prompts) {
    const auto ids = model.tokenizer().encode_with_bos(prompt);
    const auto out =
        model.generate(ids, {.temperature = 0}, max_new_tokens, stop_ids, [](std::int32_t) { return true; });
    texts.push_back(hone::detail::trimmed(model.tokenizer().decode(out)));
    if (progress) progress(texts.size());
  }
  return texts;
}

void keep_first(GenerationTask& task, std::int64_t limit) {
  if (limit <= 0 || task.prompts.size() <= static_cast<std::size_t>(limit)) return;
  task.prompts.resize(static_cast<std::size_t>(limit));
  task.references.resize(static_cast<std::size_t>(limit));
}

}  // namespace hone::cli
