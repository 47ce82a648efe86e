#include "commands.hpp"

#include <hone/core/human.hpp>
#include <hone/models/quantise_folder.hpp>

#include <cstdio>
#include <filesystem>
#include <system_error>

namespace hone::cli {
namespace {

struct QuantizeFlags {
  std::string model, output_dir, quant_type = "nf4", skip, max_shard_size = "5GB";
  bool double_quant = true;
  int threads = 0;
};

Quantisation asked(const QuantizeFlags& flags) {
  check(flags.quant_type == "nf4" || flags.quant_type == "int8",
        "quant_type: '{}' is not supported; choose one of nf4, int8", flags.quant_type);
  return {flags.quant_type == "int8" ? QuantType::int8 : QuantType::nf4, flags.double_quant, split_list(flags.skip)};
}

int quantize(const QuantizeFlags& flags) {
  check(!flags.model.empty() && !flags.output_dir.empty(), "quantize needs --model FOLDER and --output_dir FOLDER");
  std::error_code missing;
  check(!std::filesystem::equivalent(flags.model, flags.output_dir, missing),
        "output_dir: {} is read from and cannot be written to as well", flags.output_dir);
  const Quantisation how = asked(flags);
  const QuantisedFolder done = quantise_folder(flags.model, flags.output_dir, how, Cpu({.threads = flags.threads}),
                                               {.max_shard_size = parse_bytes("max_shard_size", flags.max_shard_size)});
  std::printf("%s\n%s stay as they were; %.3f bits a parameter in all, written to %s\n",
              done.linears.words(how.type).c_str(), human_bytes(done.dense_bytes).c_str(), done.bits(),
              flags.output_dir.c_str());
  return 0;
}

}  // namespace

Command add_quantize(CLI::App& app) {
  auto* command = app.add_subcommand("quantize", "store a model's linears in NF4 or int8, in bitsandbytes' files");
  auto flags = std::make_shared<QuantizeFlags>();
  command->add_option("--model", flags->model, "Hugging Face folder");
  command->add_option("--output_dir", flags->output_dir, "folder to write");
  command->add_option("--quant_type,--bnb_4bit_quant_type", flags->quant_type, "nf4 or int8")->capture_default_str();
  command
      ->add_option("--bnb_4bit_use_double_quant,--double_quant", flags->double_quant,
                   "NF4: the scales in 8 bits as well")
      ->capture_default_str();
  command->add_option("--llm_int8_skip_modules", flags->skip, "linears that stay as they are (o_proj,model.layers.0)");
  command->add_option("--max_shard_size", flags->max_shard_size, "weights larger than this are split")
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "0 = all cores")->capture_default_str();
  return {command, [flags] { return quantize(*flags); }};
}

}  // namespace hone::cli
