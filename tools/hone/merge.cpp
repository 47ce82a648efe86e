#include "commands.hpp"
#include "engine.hpp"

#include <hone/io/tensor_files.hpp>

#include <cstdio>
#include <filesystem>
#include <system_error>

namespace hone::cli {
namespace {

struct MergeFlags {
  std::string model, adapter, output_dir, dtype = "auto", max_shard_size = "5GB";
  int threads = 0;
};

/// A base all of whose tensors are bf16 stays bf16; any other is written as fp32, which loses nothing.
std::string stored_dtype(const std::string& folder) {
  const TensorFiles files(folder);
  for (const std::string& name : files.names())
    if (files.dtype(name) != DType::bf16) return "fp32";
  return "bf16";
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
  make_engine("cpu", dtype, {.threads = flags.threads})
      ->load(flags.model, flags.adapter)
      ->merge_into(flags.output_dir, shard);
  if (flags.adapter.empty())
    std::printf("%s written to %s (%s)\n", flags.model.c_str(), flags.output_dir.c_str(), dtype.c_str());
  else
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
  command->add_option("--threads", flags->threads, "0 = all cores")->capture_default_str();
  return {command, [flags] { return merge(*flags); }};
}

}  // namespace hone::cli
