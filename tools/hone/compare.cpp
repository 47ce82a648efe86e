#include "compare.hpp"
#include "commands.hpp"

#include <hone/core/error.hpp>
#include <hone/io/atomic_file.hpp>
#include <hone/io/text_file.hpp>
#include <hone/io/utf8.hpp>

#include <algorithm>
#include <cstdio>
#include <set>

namespace hone::cli {
namespace {

/// "lora:lora_r=64:dtype=bf16".
Contender parse_contender(const std::string& text) {
  Contender out{text, {}, {}};
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.find('=');
    if (begin == 0) {
      out.method = part;
    } else {
      check(equals != part.npos && equals > 0, "contenders: '{}': '{}' must be key=value", text, part);
      out.keys.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    }
    begin = end + 1;
  }
  check(!out.method.empty(), "contenders: '{}' names no method", text);
  return out;
}

/// The settings that decide what is measured, as text: who takes part, how often and how it is shown are not among
/// them.
std::string deciding_settings(const CLI::App& app) {
  const std::set<std::string> others = {
      "contenders", "seeds", "seed", "html", "json", "output_dir", "quiet", "dry_run", "overwrite_output_dir"};
  const std::string all = app.config_to_str(true);
  std::string out;
  for (const std::string_view line : split_lines(all))
    if (!others.contains(std::string(line.substr(0, line.find('='))))) out += std::string(line) + "\n";
  return out;
}

int compare(CompareFlags& flags, const CLI::App& app) {
  check(!flags.train.config.model.empty(), "model: a Hugging Face folder is needed (--model FOLDER)");
  check(!flags.train.config.data.empty(), "data: a JSONL file is needed (--data FILE)");
  check(!flags.train.config.output_dir.empty(), "output_dir: a folder to write to is needed (--output_dir FOLDER)");
  check(flags.seeds >= 1 && flags.seeds <= 1000, "seeds: {} must lie between 1 and 1000", flags.seeds);
  check(flags.latency_tokens >= 0 && flags.max_new_tokens >= 0 && flags.limit >= 0,
        "limit, max_new_tokens and latency_tokens cannot be negative");
  const auto contenders = parse_contenders(flags.contenders);
  const auto rows = compare_all(flags, contenders, deciding_settings(app));
  if (!flags.html.empty()) {
    write_file(flags.html, comparison_page(rows, flags));
    std::fprintf(stderr, "written: %s\n", printable(flags.html).c_str());
  }
  std::printf("%s", flags.json ? (comparison_json(rows) + "\n").c_str() : comparison_text(rows).c_str());
  const auto failed = [](const Compared& row) { return !row.error.empty(); };
  return std::any_of(rows.begin(), rows.end(), failed) || rows.size() < contenders.size() ? 1 : 0;
}

}  // namespace

std::vector<Contender> parse_contenders(const std::string& list) {
  std::vector<Contender> out = {{"base", "base", {}}};
  std::set<std::string> names = {"base"};
  for (const std::string& entry : split_list(list)) {
    if (entry == "base") continue;
    out.push_back(parse_contender(entry));
    check(names.insert(entry).second, "contenders: '{}' is named twice", entry);
  }
  check(out.size() > 1, "contenders: name what to compare with the base, as in few_shot,lora,lora:lora_r=64,full");
  return out;
}

Command add_compare(CLI::App& app) {
  auto* command = app.add_subcommand("compare", "train and measure several methods on the same rows: one table");
  auto flags = std::make_shared<CompareFlags>();
  command
      ->add_option("--contenders", flags->contenders,
                   "methods of hone train with keys of their own (lora:lora_r=64:learning_rate=1e-3), and "
                   "few_shot:shots=4; the untouched base is always one, base:load_in_4bit=true is it in NF4")
      ->capture_default_str();
  command->add_option("--seeds", flags->seeds, "runs of each, from --seed on: mean and standard deviation")
      ->capture_default_str();
  command->add_option("--general_text", flags->general_text, "text file that shows what training forgets");
  command->add_option("--limit", flags->limit, "held-out prompts to generate for at most (0 = all)")
      ->capture_default_str();
  command->add_option("--max_new_tokens", flags->max_new_tokens, "of a generated text, 0 = generate none")
      ->capture_default_str();
  command->add_option("--latency_tokens", flags->latency_tokens, "tokens of the request that is timed, 0 = time none")
      ->capture_default_str();
  command->add_option("--html", flags->html, "write the table as a page");
  command->add_flag("--json", flags->json, "print one JSON object");
  add_train_flags(*command, flags->train);
  return {command, [flags, command] { return compare(*flags, *command); }};
}

}  // namespace hone::cli
