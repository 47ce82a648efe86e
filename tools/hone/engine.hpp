// The engine as the subcommands see it. Each (element type, device) is compiled in one file behind this interface, so
// that no subcommand compiles the model again.
#pragma once

#include <hone/cuda.hpp>
#include <hone/eval/documents.hpp>
#include <hone/eval/merge_options.hpp>
#include <hone/infer/sampler.hpp>
#include <hone/models/llama_config.hpp>
#include <hone/nn/batch.hpp>
#include <hone/tensor/tune_gemms.hpp>
#include <hone/text/tokenizer.hpp>
#include <hone/train/run_log.hpp>
#include <hone/train/train_config.hpp>
#include <hone/train/train_summary.hpp>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace hone::cli {

struct EngineOptions {
  int threads = 0;  ///< 0 = all cores
};

/// A loaded model of any element type.
class Model {
 public:
  virtual ~Model() = default;
  virtual const LlamaConfig& config() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual std::vector<DocumentLikelihood> likelihoods(const std::vector<std::string>& documents,
                                                      std::int64_t context) const = 0;
  /// Negative log-likelihoods of the supervised tokens of each example.
  virtual std::vector<DocumentLikelihood> likelihoods(const std::vector<Example>& examples) const = 0;
  virtual std::vector<std::int32_t> generate(std::span<const std::int32_t> prompt, const SamplingOptions& sampling,
                                             std::int64_t max_new_tokens, const std::vector<std::int32_t>& stop_ids,
                                             const std::function<bool(std::int32_t)>& on_token) const = 0;
  /// Folds the adapter into the base and writes the folder.
  virtual void merge_into(const std::filesystem::path& folder, std::int64_t max_shard_size) = 0;
};

/// One of several adapters on a base: what it changes is multiplied by `weight`, and the changes add up.
struct AdapterSource {
  std::string name;
  std::filesystem::path folder;
  double weight = 1;
};

/// How several adapters act together.
enum class Combine {
  weighted,  ///< their changes add up, each times its weight
  ensemble   ///< each by itself; the mean of the logits decides, by their weights
};

/// An adapter to fold into a base; with a text, every way to do it is compared over its first tokens.
struct MergeRequest {
  std::filesystem::path base, adapter, output;
  MergeOptions options;
  std::string text;
  std::int64_t tokens = 256;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual TrainSummary train(const TrainConfig& config, const Policy& policy, Console console,
                             const std::atomic<bool>& stop) const = 0;
  virtual std::unique_ptr<Model> load(const std::filesystem::path& folder,
                                      const std::filesystem::path& adapter) const = 0;
  virtual std::unique_ptr<Model> load_several(const std::filesystem::path& folder,
                                              const std::vector<AdapterSource>& adapters, Combine combine) const = 0;
  virtual std::vector<MergeRow> merge(const MergeRequest& request) const = 0;
};

std::unique_ptr<Engine> make_cpu_fp32_engine(const EngineOptions& options);
std::unique_ptr<Engine> make_cpu_bf16_engine(const EngineOptions& options);
// A build without CUDA has these too (no_cuda.cpp): they say so.
std::unique_ptr<Engine> make_cuda_fp32_engine();
std::unique_ptr<Engine> make_cuda_bf16_engine();
/// The machine's first card, opened; an Error that says why there is none.
Card local_card();
/// Times the algorithms of that card's GEMM library; see gpu::tune_gemms.
gpu::GemmTuning tune_local_card(const std::set<gpu::GemmShape>& shapes, gpu::TuneReport report);

/// The engine that computes in `dtype` ("fp32": float; "mixed" and "bf16": bfloat16; "auto": float on the processor,
/// bfloat16 on a card) on `device`. "auto" is the processor.
std::unique_ptr<Engine> make_engine(const std::string& device, const std::string& dtype, const EngineOptions& options);

}  // namespace hone::cli
