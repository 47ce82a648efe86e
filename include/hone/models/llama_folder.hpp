// Llama-family models as Hugging Face folders: config.json, safetensors, tokenizer, generation defaults.
#pragma once

#include <hone/io/atomic_folder.hpp>
#include <hone/models/llama.hpp>
#include <hone/models/llama_config_file.hpp>
#include <hone/nn/weights_io.hpp>
#include <hone/text/tokenizer.hpp>

#include <array>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

namespace hone {

/// A model with the folder it came from and its tokenizer.
template <class T, Device D = Cpu>
class PretrainedLlama : public Llama<T, D> {
 public:
  PretrainedLlama(const LlamaConfig& config, const D& device, std::filesystem::path folder,
                  std::optional<Tokenizer> tokenizer)
      : Llama<T, D>(config, device), folder_(std::move(folder)), tokenizer_(std::move(tokenizer)) {}

  const std::filesystem::path& folder() const { return folder_; }
  /// Throws when the folder has no tokenizer.json.
  const Tokenizer& tokenizer() const {
    check(tokenizer_.has_value(), "[{}] there is no tokenizer.json in this folder", folder_.string());
    return *tokenizer_;
  }

 private:
  std::filesystem::path folder_;
  std::optional<Tokenizer> tokenizer_;
};

/// Reads a folder's tokenizer and holds it to the model: an id the model has no row for is an Error.
inline std::optional<Tokenizer> load_tokenizer(const std::filesystem::path& folder, const LlamaConfig& config) {
  if (!std::filesystem::exists(folder / "tokenizer.json")) return std::nullopt;
  auto tokenizer = Tokenizer::from_folder(folder);
  check(tokenizer.vocab_size() <= config.vocab_size,
        "[{}] the tokenizer has {} tokens, but the model's vocab_size is {}: they do not belong together",
        (folder / "tokenizer.json").string(), tokenizer.vocab_size(), config.vocab_size);
  return tokenizer;
}

/// Takes the memory of a model's weights at once: the next Llama<T, D> of this config on `device` lies in it.
template <class T, Device D>
void reserve_weights(const LlamaConfig& config, const D& device) {
  const Meta meta(device.target());
  const Llama<T, Meta> counted(config, meta);
  device.memory().reserve_slab(Category::weights, meta.memory().ledger().of(Category::weights).now);
}

/// Loads a Hugging Face folder, converting its weights to T. Weights lie in one slab; no file is held in memory twice.
/// The linears are stored as `config` says, which is the folder's own unless given.
template <class T, Device D = Cpu>
PretrainedLlama<T, D> load_llama(const std::filesystem::path& folder, const D& device, const LlamaConfig& config) {
  reserve_weights<T>(config, device);
  PretrainedLlama<T, D> model(config, device, folder, load_tokenizer(folder, config));
  read_weights(model, TensorFiles(folder), config.tie_word_embeddings);
  return model;
}

template <class T, Device D = Cpu>
PretrainedLlama<T, D> load_llama(const std::filesystem::path& folder, const D& device = {}) {
  return load_llama<T>(folder, device, read_llama_config(folder / "config.json"));
}

/// Copies the files that belong to a model but are not its weights: tokenizer and generation defaults.
inline void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to) {
  constexpr std::array companions = {"tokenizer.json",
                                     "tokenizer_config.json",
                                     "tokenizer.model",
                                     "special_tokens_map.json",
                                     "generation_config.json",
                                     "chat_template.jinja",
                                     "added_tokens.json",
                                     "vocab.json",
                                     "merges.txt"};
  for (const char* name : companions) {
    if (!std::filesystem::exists(from / name)) continue;
    std::error_code error;
    std::filesystem::copy_file(from / name, to / name, std::filesystem::copy_options::overwrite_existing, error);
    check(!error, "[{}] cannot be copied to {}: {}", (from / name).string(), to.string(), error.message());
  }
}

/// Writes the base weights as a folder transformers loads, with the companions of `source` (may be empty). The folder
/// appears complete or not at all.
template <class T, Device D>
void save_llama(Llama<T, D>& model, const std::filesystem::path& folder, const std::filesystem::path& source = {},
                const SaveOptions& options = {}) {
  check_replaceable(folder);
  AtomicFolder target(folder);
  auto config = model.config();
  config.torch_dtype = dtype_of<T>;
  write_file(target.path() / "config.json", llama_config_to_json(config).dump(2) + "\n");
  write_weights(base_sources(model), target.path(), options);
  if (!source.empty()) copy_companions(source, target.path());
  target.commit();
}

}  // namespace hone
