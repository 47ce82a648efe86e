#include "commands.hpp"

#include <hone/io/json.hpp>
#include <hone/text/tokenizer.hpp>

#include <cstdio>
#include <filesystem>

namespace hone::cli {
namespace {

struct TokenizeFlags {
  std::string model, file, text;
  bool json = false, no_special = false;
};

int tokenize(const TokenizeFlags& flags) {
  check(!flags.model.empty(), "model: a folder or a tokenizer.json is needed (--model PATH)");
  check(flags.file.empty() != flags.text.empty(), "tokenize needs either --file FILE or --text TEXT");
  const auto tokenizer = std::filesystem::is_directory(flags.model) ? Tokenizer::from_folder(flags.model)
                                                                    : Tokenizer::from_file(flags.model);
  const std::string text = flags.file.empty() ? flags.text : read_file(flags.file);
  const auto ids =
      tokenizer.encode(text, {.add_special_tokens = !flags.no_special, .parse_special = !flags.no_special});
  if (flags.json) {
    std::printf("%s\n", nlohmann::json({{"ids", ids}}).dump().c_str());
    return 0;
  }
  for (const auto id : ids) std::printf("%7d  %s\n", id, tokenizer.id_to_token(id).value_or("?").c_str());
  std::printf("%zu tokens\n", ids.size());
  return 0;
}

}  // namespace

Command add_tokenize(CLI::App& app) {
  auto* command = app.add_subcommand("tokenize", "the ids of a text");
  auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("--model", flags->model, "Hugging Face folder or tokenizer.json");
  command->add_option("--file", flags->file, "text file");
  command->add_option("--text", flags->text, "the text itself");
  command->add_flag("--json", flags->json, "print {\"ids\": [...]}");
  command->add_flag("--no_special", flags->no_special,
                    "add no BOS or EOS, and read special tokens in the text as text");
  return {command, [flags] { return tokenize(*flags); }};
}

}  // namespace hone::cli
