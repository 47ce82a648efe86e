#include "adapter_flags.hpp"
#include "commands.hpp"
#include "scoring.hpp"
#include "stop_ids.hpp"

#include <hone/train/examples.hpp>

#include <cmath>
#include <cstdio>

namespace hone::cli {
namespace {

struct EvalFlags {
  AdapterFlags adapters;
  std::string model, text, data, format = "auto", truncation = "drop", dtype = "auto", device = "auto";
  bool per_line = false, whole = false, generate = false, json = false;
  std::int64_t max_length = 0, max_new_tokens = 128, limit = 0;
  int threads = 0;
};

nlohmann::json document_json(const DocumentLikelihood& document) {
  return {{"nll", document.nll}, {"mean_nll", document.mean()}, {"tokens", document.tokens}};
}

nlohmann::json likelihood_json(const std::vector<DocumentLikelihood>& documents) {
  const auto all = total(documents);
  check(all.tokens > 0, "[eval] there is no token to score");
  nlohmann::json out = {{"mean_nll", all.mean()}, {"perplexity", std::exp(all.mean())}, {"tokens", all.tokens}};
  out["documents"] = nlohmann::json::array();
  for (const auto& document : documents) out["documents"].push_back(document_json(document));
  return out;
}

std::int64_t context_of(const EvalFlags& flags, const Model& model) {
  const std::int64_t longest = model.config().max_position_embeddings;
  check(flags.max_length <= longest, "max_length: {} is above the model's context of {} tokens", flags.max_length,
        longest);
  return flags.max_length > 0 ? flags.max_length : longest;
}

nlohmann::json eval_text(const EvalFlags& flags, const Model& model) {
  const std::string text = read_text_unix(flags.text);
  const auto how = flags.whole ? TextDocuments::whole : flags.per_line ? TextDocuments::lines : TextDocuments::blocks;
  const auto documents = split_documents(text, how);
  check(!documents.empty(), "[{}] there is no text in this file", flags.text);
  return likelihood_json(model.likelihoods(documents, context_of(flags, model)));
}

/// Greedy texts for the prompts of a task.
std::vector<std::string> generate_texts(const EvalFlags& flags, const Model& model, const GenerationTask& task) {
  const bool show = !flags.json && isatty(fileno(stderr)) == 1;
  const auto texts = greedy_texts(model, task.prompts, stop_ids(model, read_generation_config(flags.model)),
                                  flags.max_new_tokens, [&](std::size_t done) {
                                    if (show) std::fprintf(stderr, "\rgenerated %zu of %zu", done, task.prompts.size());
                                  });
  if (show) std::fprintf(stderr, "\r\x1b[K");
  return texts;
}

nlohmann::json eval_rows(const EvalFlags& flags, const Model& model) {
  auto rows = read_rows(flags.data, row_format_named(flags.format));
  const auto examples = make_examples(rows, model.tokenizer(),
                                      {context_of(flags, model), truncation_named(flags.truncation)}, flags.data);
  auto out = likelihood_json(model.likelihoods(examples.items));
  out.erase("documents");
  if (examples.dropped > 0) out["dropped"] = examples.dropped;
  if (!flags.generate) return out;
  const auto too_long = std::erase_if(rows, [&](const Row& row) {
    return static_cast<std::int64_t>(model.tokenizer().encode_with_bos(row.prompt).size()) >= context_of(flags, model);
  });
  check(!rows.empty(), "[{}] no prompt is shorter than the context", flags.data);
  if (too_long > 0) out["prompts_too_long"] = too_long;
  auto task = generation_task(rows);
  keep_first(task, flags.limit);
  const auto scores = score_generations(generate_texts(flags, model, task), task);
  out["generated"] = task.prompts.size();
  out["bleu"] = scores.bleu;
  out["rouge_l"] = scores.rouge_l;
  if (scores.slots) {
    out["slot_error_rate"] = scores.slots->rate();
    out["slots_missed"] = scores.slots->missed;
    out["slots_invented"] = scores.slots->invented;
    out["slots"] = scores.slots->slots;
  }
  return out;
}

void print_table(const nlohmann::json& result) {
  for (const auto& [key, value] : result.items())
    if (!value.is_array())
      std::printf("%-16s %s\n", key.c_str(),
                  value.is_number_float() ? fmt::format("{:.4f}", value.get<double>()).c_str() : value.dump().c_str());
}

int eval(const EvalFlags& flags) {
  check(!flags.model.empty(), "model: a Hugging Face folder is needed (--model FOLDER)");
  check(flags.text.empty() != flags.data.empty(), "eval needs either --text FILE or --data FILE");
  check(!(flags.per_line && flags.whole), "--per_line and --whole exclude each other");
  const auto engine = make_engine(flags.device, flags.dtype, {.threads = flags.threads});
  const auto model = load_model(*engine, flags.model, flags.adapters);
  const auto result = flags.text.empty() ? eval_rows(flags, *model) : eval_text(flags, *model);
  if (flags.json)
    std::printf("%s\n", result.dump().c_str());
  else
    print_table(result);
  return 0;
}

}  // namespace

Command add_eval(CLI::App& app) {
  auto* command = app.add_subcommand("eval", "perplexity of text, or likelihood and generation scores of JSONL rows");
  auto flags = std::make_shared<EvalFlags>();
  command->add_option("--model", flags->model, "Hugging Face folder");
  add_adapter_flags(*command, flags->adapters);
  command->add_option("--text", flags->text, "text file: blocks between blank lines are documents");
  command->add_flag("--per_line", flags->per_line, "with --text: every line is a document");
  command->add_flag("--whole", flags->whole, "with --text: the file is one document");
  command->add_option("--data", flags->data, "JSONL rows; the completion is scored");
  command->add_option("--format", flags->format, "auto, prompt_completion, alpaca, text")->capture_default_str();
  command->add_flag("--generate", flags->generate,
                    "with --data: generate greedily and score BLEU-4 and ROUGE-L against the references");
  command->add_option("--limit", flags->limit, "prompts to generate for at most (0 = all)")->capture_default_str();
  command->add_option("--max_new_tokens", flags->max_new_tokens)->capture_default_str();
  command->add_option("--max_length", flags->max_length, "tokens seen at once (0 = the model's context)")
      ->capture_default_str();
  command->add_option("--truncation", flags->truncation, "rows that are too long: drop, left, right, error")
      ->capture_default_str();
  command->add_option("--dtype", flags->dtype, "auto, fp32, bf16")->capture_default_str();
  command->add_option("--device", flags->device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--threads", flags->threads, "0 = all cores")->capture_default_str();
  command->add_flag("--json", flags->json, "print one JSON object");
  return {command, [flags] { return eval(*flags); }};
}

}  // namespace hone::cli
