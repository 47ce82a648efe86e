#include "compare_rows.hpp"
#include "scoring.hpp"
#include "stop_ids.hpp"

#include <hone/io/atomic_file.hpp>
#include <hone/train/batches.hpp>
#include <hone/train/examples.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace hone::cli {
namespace {

std::string written_rows(const std::filesystem::path& path, const std::vector<std::string_view>& lines,
                         std::span<const std::size_t> chosen) {
  std::string text;
  for (const std::size_t line : chosen) text += std::string(lines[line]) + "\n";
  write_file(path, text);
  return path.string();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double mean_loss(const std::vector<DocumentLikelihood>& documents) { return total(documents).mean(); }

}  // namespace

SplitRows split_rows(const TrainConfig& config, const std::string& folder) {
  if (!config.eval_data.empty()) return {config.data, config.eval_data};
  check(config.val_size > 0,
        "val_size: a comparison needs rows that are held out; name a share of them or --eval_data");
  const std::string text = read_text(config.data);
  std::vector<std::string_view> lines;
  for (const std::string_view line : split_lines(text))
    if (line.find_first_not_of(" \t\r") != line.npos) lines.push_back(line);
  check(lines.size() >= 2, "[{}] a comparison needs at least two rows: one to train on, one held out", config.data);
  const auto order = shuffled(lines.size(), config.seed, ~std::uint64_t{0});
  const auto share = static_cast<std::size_t>(std::llround(config.val_size * static_cast<double>(lines.size())));
  const std::size_t held_out = std::clamp<std::size_t>(share, 1, lines.size() - 1);
  const auto rows = std::filesystem::path(folder) / "rows";
  std::filesystem::create_directories(rows);
  const std::span<const std::size_t> all(order);
  return {written_rows(rows / "train.jsonl", lines, all.subspan(held_out)),
          written_rows(rows / "valid.jsonl", lines, all.first(held_out))};
}

/// Prompts as a model is given them: behind shots of the training rows, as many as leave room for the rest.
class Yardstick::Prompts {
 public:
  Prompts(const Yardstick& yardstick, const Model& model, std::int64_t shots, std::uint64_t seed)
      : model_(model), context_(static_cast<std::size_t>(model.config().max_position_embeddings)) {
    const auto order = shuffled(yardstick.train_.size(), seed, 0);
    for (std::size_t i = 0; i < order.size() && static_cast<std::int64_t>(shots_.size()) < shots; ++i) {
      const Row& row = yardstick.train_[order[i]];
      shots_.push_back(row.prompt + row.completion + "\n\n");
    }
  }

  /// `prompt` behind its shots, so that `completion` and `room` tokens more still fit.
  std::string with_shots(const std::string& prompt, const std::string& completion, std::int64_t room) const {
    for (std::size_t count = shots_.size(); count > 0; --count) {
      std::string out;
      for (std::size_t i = 0; i < count; ++i) out += shots_[i];
      out += prompt;
      if (tokens(out + completion) + static_cast<std::size_t>(room) <= context_) return out;
    }
    return prompt;
  }
  std::size_t tokens(const std::string& text) const { return model_.tokenizer().encode_with_bos(text).size(); }

 private:
  const Model& model_;
  std::size_t context_;
  std::vector<std::string> shots_;
};

Yardstick::Yardstick(const CompareFlags& flags, const SplitRows& files) : flags_(flags) {
  const RowFormat format = row_format_named(flags.train.config.format);
  train_ = read_rows(files.train, format);
  valid_ = read_rows(files.valid, format);
  check(!valid_.empty(), "[{}] there is no row to validate on", files.valid);
  if (flags.general_text.empty()) return;
  general_ = split_documents(read_text_unix(flags.general_text), TextDocuments::blocks);
  check(!general_.empty(), "[{}] there is no text in this file", flags.general_text);
}

Measurements Yardstick::score(const Model& model, std::int64_t shots, std::uint64_t seed) const {
  const Prompts prompts(*this, model, shots, seed);
  const std::int64_t context = model.config().max_position_embeddings;
  Measurements out;
  std::vector<Row> rows = valid_;
  double prompt_tokens = 0;
  for (Row& row : rows) {
    row.prompt = prompts.with_shots(row.prompt, row.completion, 1);
    prompt_tokens += static_cast<double>(prompts.tokens(row.prompt));
  }
  out["prompt_tokens"] = prompt_tokens / static_cast<double>(rows.size());
  const auto examples = make_examples(rows, model.tokenizer(),
                                      {context, truncation_named(flags_.train.config.truncation)}, "the held-out rows");
  out["validation_loss"] = mean_loss(model.likelihoods(examples.items));
  if (!general_.empty()) out["general_loss"] = mean_loss(model.likelihoods(general_, context));
  const bool has_prompts =
      std::any_of(valid_.begin(), valid_.end(), [](const Row& row) { return !row.prompt.empty(); });
  if (!has_prompts || flags_.max_new_tokens == 0) return out;
  auto task = generation_task(valid_);
  keep_first(task, flags_.limit);
  std::vector<std::string> asked;
  for (const std::string& prompt : task.prompts) asked.push_back(prompts.with_shots(prompt, "", flags_.max_new_tokens));
  const auto stop = stop_ids(model, read_generation_config(flags_.train.config.model));
  const auto scores = score_generations(greedy_texts(model, asked, stop, flags_.max_new_tokens, {}), task);
  out["bleu"] = scores.bleu;
  if (scores.slots) out["slot_errors"] = scores.slots->rate();
  return out;
}

std::vector<double> Yardstick::latencies(const std::vector<const Model*>& models, std::int64_t shots,
                                         std::uint64_t seed) const {
  constexpr int repetitions = 5;
  std::vector<std::vector<double>> taken(models.size());
  for (int i = 0; i < repetitions; ++i)
    for (std::size_t m = 0; m < models.size(); ++m) {
      const Prompts prompts(*this, *models[m], shots, seed);
      const auto ids =
          models[m]->tokenizer().encode_with_bos(prompts.with_shots(valid_.front().prompt, "", flags_.latency_tokens));
      const auto begin = std::chrono::steady_clock::now();
      models[m]->generate(ids, {.temperature = 0}, flags_.latency_tokens, {}, [](std::int32_t) { return true; });
      taken[m].push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    }
  std::vector<double> out;
  for (auto& times : taken) out.push_back(median(std::move(times)));
  return out;
}

}  // namespace hone::cli
