#include "adapter_flags.hpp"
#include "commands.hpp"
#include "stop_ids.hpp"

#include <cstdio>
#include <optional>

namespace hone::cli {
namespace {

struct GenerateFlags {
  AdapterFlags adapters;
  std::string model, prompt, prompt_file, dtype = "auto", device = "auto";
  std::optional<double> temperature, top_p, repetition_penalty;
  std::optional<std::int64_t> top_k, max_new_tokens;
  std::uint64_t seed = 42;
  int threads = 0;
  bool no_special = false, json = false;
};

/// Flags first, then generation_config.json, then the defaults of the command line.
SamplingOptions sampling(const GenerateFlags& flags, const GenerationConfig& file) {
  SamplingOptions out;
  out.temperature =
      flags.temperature.value_or(file.do_sample == false ? 0.0 : file.temperature.value_or(out.temperature));
  out.top_k = flags.top_k.value_or(file.top_k.value_or(out.top_k));
  out.top_p = flags.top_p.value_or(file.top_p.value_or(out.top_p));
  out.repetition_penalty = flags.repetition_penalty.value_or(file.repetition_penalty.value_or(out.repetition_penalty));
  out.seed = flags.seed;
  return out;
}

int generate(const GenerateFlags& flags) {
  check(!flags.model.empty(), "model: a Hugging Face folder is needed (--model FOLDER)");
  check(flags.prompt.empty() || flags.prompt_file.empty(), "--prompt and --prompt_file exclude each other");
  const auto engine = make_engine(flags.device, flags.dtype, {.threads = flags.threads});
  const auto model = load_model(*engine, flags.model, flags.adapters);
  const auto file = read_generation_config(flags.model);
  const std::string prompt = flags.prompt_file.empty() ? flags.prompt : read_text(flags.prompt_file);
  const auto ids = model->tokenizer().encode_with_bos(prompt, !flags.no_special);
  const auto stop = stop_ids(*model, file);
  StreamDecoder stream(model->tokenizer());
  std::string text;
  const auto show = [&](const std::string& piece) {
    text += piece;
    if (flags.json) return;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  const auto out =
      model->generate(ids, sampling(flags, file), flags.max_new_tokens.value_or(file.max_new_tokens.value_or(256)),
                      stop, [&](std::int32_t id) {
                        show(stream.push(id));
                        return true;
                      });
  show(stream.flush());
  if (flags.json)
    std::printf("%s\n", nlohmann::json({{"prompt_tokens", ids.size()}, {"ids", out}, {"text", text}})
                            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                            .c_str());
  else
    std::printf("\n");
  return 0;
}

}  // namespace

Command add_generate(CLI::App& app) {
  auto* command = app.add_subcommand("generate", "continue a prompt, streamed");
  auto flags = std::make_shared<GenerateFlags>();
  command->add_option("--model", flags->model, "Hugging Face folder");
  add_adapter_flags(*command, flags->adapters);
  command->add_option("--prompt", flags->prompt, "text to continue");
  command->add_option("--prompt_file", flags->prompt_file, "a file with the text to continue");
  command->add_option("--max_new_tokens", flags->max_new_tokens, "256 unless generation_config.json says otherwise");
  command->add_option("--temperature", flags->temperature, "0 = greedy");
  command->add_option("--top_k", flags->top_k, "0 = all");
  command->add_option("--top_p", flags->top_p, "1 = all");
  command->add_option("--repetition_penalty", flags->repetition_penalty, "1 = none");
  command->add_option("--seed", flags->seed)->capture_default_str();
  command->add_flag("--no_special", flags->no_special, "special tokens in the prompt are plain text");
  command->add_option("--dtype", flags->dtype, "auto, fp32, bf16")->capture_default_str();
  command->add_option("--device", flags->device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--threads", flags->threads, "0 = all cores")->capture_default_str();
  command->add_flag("--json", flags->json, "print one JSON object with the ids and the text");
  return {command, [flags] { return generate(*flags); }};
}

}  // namespace hone::cli
