#include "commands.hpp"
#include "engine.hpp"

#include <hone/io/json.hpp>
#include <hone/io/tensor_files.hpp>
#include <hone/models/llama_config_file.hpp>

#include <cstdio>
#include <filesystem>
#include <system_error>

namespace hone::cli {
namespace {

struct MergeFlags {
  std::string model, adapter, output_dir, dtype = "auto", max_shard_size = "5GB", onto = "auto", report;
  std::int64_t report_tokens = 256;
  bool in_4bit = false, in_8bit = false, json = false;
  int threads = 0;
};

/// A base all of whose tensors are bf16 stays bf16; any other is written as fp32, which loses nothing.
std::string stored_dtype(const std::string& folder) {
  const TensorFiles files(folder);
  for (const std::string& name : files.names())
    if (files.dtype(name) != DType::bf16) return "fp32";
  return "bf16";
}

MergeOptions options_of(const MergeFlags& flags) {
  MergeOptions out;
  check(!(flags.in_4bit && flags.in_8bit), "load_in_4bit and load_in_8bit exclude each other");
  if (flags.in_4bit || flags.in_8bit)
    out.quantization = Quantisation{.type = flags.in_4bit ? QuantType::nf4 : QuantType::int8};
  const bool stored = read_llama_config(std::filesystem::path(flags.model) / "config.json").quantization.has_value();
  if (flags.onto == "auto") {
    out.onto = stored ? MergeOnto::dequantised : MergeOnto::base;
    return out;
  }
  for (const MergeOnto onto : {MergeOnto::base, MergeOnto::dequantised, MergeOnto::requantised}) {
    if (flags.onto != name_of(onto)) continue;
    out.onto = onto;
    return out;
  }
  fail("onto: '{}' is not known; choose auto, base, dequantised or requantised", flags.onto);
}

/// The report as a table, or as one JSON object.
void print_report(const std::vector<MergeRow>& rows, const MergeFlags& flags) {
  if (flags.json) {
    auto list = nlohmann::json::array();
    for (const MergeRow& row : rows)
      list.push_back({{"onto", name_of(row.onto)},
                      {"written", row.written},
                      {"kl", row.agreement.kl},
                      {"largest_kl", row.agreement.largest_kl},
                      {"top1", row.agreement.top1},
                      {"tokens", row.agreement.tokens}});
    std::printf("%s\n", list.dump().c_str());
    return;
  }
  std::printf("beside the adapter on its base, over %lld tokens of %s:\n",
              static_cast<long long>(rows.front().agreement.tokens), flags.report.c_str());
  std::printf("%-12s  %12s  %12s  %s\n", "merged onto", "KL (nats)", "largest KL", "same top token");
  for (const MergeRow& row : rows)
    std::printf("%-12s  %12.3e  %12.3e  %6.2f %%%s\n", std::string(name_of(row.onto)).c_str(), row.agreement.kl,
                row.agreement.largest_kl, 100 * row.agreement.top1, row.written ? "  written" : "");
}

int merge(const MergeFlags& flags) {
  check(!flags.model.empty() && !flags.output_dir.empty(), "merge needs --model FOLDER and --output_dir FOLDER");
  check(!flags.adapter.empty() || flags.dtype != "auto",
        "merge needs --adapter FOLDER, or --dtype to write the base in another element type");
  for (const std::string& input : {flags.model, flags.adapter}) {
    std::error_code missing;
    check(input.empty() || !std::filesystem::equivalent(input, flags.output_dir, missing),
          "output_dir: {} is read from and cannot be written to as well", flags.output_dir);
  }
  const std::int64_t shard = parse_bytes("max_shard_size", flags.max_shard_size);
  const std::string dtype = flags.dtype == "auto" ? stored_dtype(flags.model) : flags.dtype;
  const auto engine = make_engine("cpu", dtype, {.threads = flags.threads});
  if (flags.adapter.empty()) {
    check(flags.report.empty(), "report: there is no adapter to compare with (--adapter FOLDER)");
    engine->load(flags.model, {})->merge_into(flags.output_dir, shard);
    std::printf("%s written to %s (%s)\n", flags.model.c_str(), flags.output_dir.c_str(), dtype.c_str());
    return 0;
  }
  MergeRequest request{.base = flags.model,
                       .adapter = flags.adapter,
                       .output = flags.output_dir,
                       .options = options_of(flags),
                       .text = {},
                       .tokens = flags.report_tokens};
  request.options.save.max_shard_size = shard;
  if (!flags.report.empty()) request.text = read_text(flags.report);
  check(flags.report.empty() || !request.text.empty(), "report: {} is empty", flags.report);
  const auto rows = engine->merge(request);
  if (!flags.report.empty()) print_report(rows, flags);
  if (!flags.json)
    std::printf("merged %s into %s, written to %s (%s)\n", flags.adapter.c_str(), flags.model.c_str(),
                flags.output_dir.c_str(), dtype.c_str());
  return 0;
}

}  // namespace

Command add_merge(CLI::App& app) {
  auto* command =
      app.add_subcommand("merge", "fold an adapter into its base model (or, without one, change its element type)");
  auto flags = std::make_shared<MergeFlags>();
  command->add_option("--model", flags->model, "Hugging Face folder of the base");
  command->add_option("--adapter", flags->adapter, "PEFT folder");
  command->add_option("--output_dir", flags->output_dir, "folder to write");
  command->add_option("--max_shard_size", flags->max_shard_size, "weights larger than this are split")
      ->capture_default_str();
  command->add_option("--dtype", flags->dtype, "auto (bf16 stays bf16, everything else becomes fp32), fp32, bf16")
      ->capture_default_str();
  command
      ->add_option("--onto", flags->onto,
                   "base, dequantised (what the adapter saw), requantised; auto: the base as it is stored, dense")
      ->capture_default_str();
  command->add_flag("--load_in_4bit", flags->in_4bit, "the adapter was trained over the base in NF4");
  command->add_flag("--load_in_8bit", flags->in_8bit, "the adapter was trained over the base in int8");
  command->add_option("--report", flags->report,
                      "a text: KL divergence and agreement of every way to merge with the adapter on its base");
  command->add_option("--report_tokens", flags->report_tokens, "of that text at most")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "print the report as JSON");
  command->add_option("--threads", flags->threads, "0 = all cores")->capture_default_str();
  return {command, [flags] { return merge(*flags); }};
}

}  // namespace hone::cli
