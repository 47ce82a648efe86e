// Scores of generated texts against references: BLEU-4, ROUGE-L, and the slot-error rate where prompts list attributes.
#pragma once

#include <hone/eval/slot_errors.hpp>
#include <hone/eval/text_metrics.hpp>
#include <hone/text/rows.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hone {

struct GenerationScores {
  double bleu = 0;                  ///< 0 .. 100
  double rouge_l = 0;               ///< 0 .. 100
  std::optional<SlotErrors> slots;  ///< where every prompt lists attributes as name[value]
};

/// Prompts with their reference texts; rows that share a prompt (several references in a file) are one.
struct GenerationTask {
  std::vector<std::string> prompts;
  std::vector<References> references;
};

inline GenerationTask generation_task(const std::vector<Row>& rows) {
  GenerationTask task;
  std::map<std::string, std::size_t> place;
  for (const Row& row : rows) {
    const auto [at, fresh] = place.emplace(row.prompt, task.prompts.size());
    if (fresh) {
      task.prompts.push_back(row.prompt);
      task.references.emplace_back();
    }
    auto& references = task.references[at->second];
    references.insert(references.end(), row.references.begin(), row.references.end());
  }
  return task;
}

namespace detail {

/// Slot errors over all texts, if every prompt lists at least one attribute in brackets. An attribute whose value never
/// repeats (a name) can be missed, not invented.
inline std::optional<SlotErrors> count_slot_errors(const std::vector<std::string>& texts,
                                                   const std::vector<std::string>& prompts) {
  std::vector<std::vector<Slot>> slots;
  std::map<std::string, std::map<std::string, int>> values;
  for (const std::string& prompt : prompts) {
    if (prompt.find('[') == prompt.npos) return std::nullopt;
    try {
      slots.push_back(parse_slots(prompt));
    } catch (const Error&) {
      return std::nullopt;  // brackets that mean something else
    }
    for (const Slot& slot : slots.back()) ++values[slot.name][slot.value];
  }
  std::vector<std::string> closed;
  for (const auto& [name, counts] : values) {
    bool repeats = false;
    for (const auto& [value, count] : counts) repeats = repeats || count > 1;
    if (repeats) closed.push_back(name);
  }
  const auto vocabularies = collect_vocabularies(slots, closed);
  SlotErrors total;
  for (std::size_t i = 0; i < texts.size(); ++i) total += slot_errors(texts[i], slots[i], vocabularies);
  return total;
}

}  // namespace detail

/// Scores one text per prompt.
inline GenerationScores score_generations(const std::vector<std::string>& texts, const GenerationTask& task) {
  return {corpus_bleu(texts, task.references).score, rouge_l(texts, task.references),
          detail::count_slot_errors(texts, task.prompts)};
}

}  // namespace hone
