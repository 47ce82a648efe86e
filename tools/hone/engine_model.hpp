// A loaded model of one (element type, device), behind the command line's interface.
#pragma once

#include "engine.hpp"

#include <hone/eval/merge_adapter.hpp>
#include <hone/eval/perplexity.hpp>
#include <hone/infer/generate_ensemble.hpp>
#include <hone/models/llama_folder.hpp>
#include <hone/peft/adapters.hpp>
#include <hone/peft/method.hpp>

#include <algorithm>
#include <cstdio>

namespace hone::cli {

/// What was noticed about an adapter, on the error stream: standard output is the command's result.
inline void show_note(const std::string& note) { std::fprintf(stderr, "note: %s\n", printable_message(note).c_str()); }

template <class T, Device D>
std::vector<MergeRow> merge_folders(const D& device, const MergeRequest& request) {
  Example text;
  if (!request.text.empty()) {
    const auto config = read_llama_config(request.base / "config.json");
    const auto tokenizer = load_tokenizer(request.base, config);
    check(tokenizer.has_value(), "[{}] there is no tokenizer.json in this folder", request.base.string());
    text.ids = tokenizer->encode_with_bos(request.text, false);
    const std::int64_t most = std::min(request.tokens, config.max_position_embeddings);
    text.ids.resize(std::min(text.ids.size(), static_cast<std::size_t>(most)));
    text.supervised.assign(text.ids.size(), true);
  }
  const auto tokens = static_cast<std::int64_t>(text.ids.size());
  MergeOptions options = request.options;
  options.note = show_note;
  return merge_adapter<T>(request.base, request.adapter, request.output, device, options,
                          make_batch(std::span<const Example>(&text, 1)), tokens);
}

template <class T, Device D>
class DeviceModel final : public Model {
 public:
  DeviceModel(const D& device, const std::filesystem::path& folder, const std::filesystem::path& adapter)
      : model_(load_llama<T>(folder, device)), adapters_(model_) {
    if (!adapter.empty())
      for (const std::string& note : load_adapter(model_, adapter)) show_note(note);
    freeze_all(model_);  // nothing here trains: no memory for gradients
  }
  DeviceModel(const D& device, const std::filesystem::path& folder, const std::vector<AdapterSource>& sources,
              Combine combine)
      : model_(load_llama<T>(folder, device)), adapters_(model_) {
    for (const AdapterSource& source : sources) {
      for (const std::string& note : adapters_.load(source.name, source.folder)) show_note(note);
      if (combine == Combine::weighted) adapters_.weigh(source.name, source.weight);
    }
    if (combine == Combine::ensemble)
      for (const AdapterSource& source : sources) members_.push_back({with_those_below(source), source.weight});
    adapters_.set(adapters_.names());
    freeze_all(model_);
  }
  const LlamaConfig& config() const override { return model_.config(); }
  const Tokenizer& tokenizer() const override { return model_.tokenizer(); }
  std::vector<DocumentLikelihood> likelihoods(const std::vector<std::string>& documents,
                                              std::int64_t context) const override {
    return likelihoods_by(losses(), model_.tokenizer(), documents, context);
  }
  std::vector<DocumentLikelihood> likelihoods(const std::vector<Example>& examples) const override {
    return likelihoods_by(losses(), examples);
  }
  std::vector<std::int32_t> generate(std::span<const std::int32_t> prompt, const SamplingOptions& sampling,
                                     std::int64_t max_new_tokens, const std::vector<std::int32_t>& stop_ids,
                                     const std::function<bool(std::int32_t)>& on_token) const override {
    const GenerateOptions options{.sampling = sampling, .max_new_tokens = max_new_tokens, .stop_ids = stop_ids};
    if (members_.empty()) return hone::generate(model_, prompt, options, on_token);
    return generate_ensemble(model_, adapters_, members_, prompt, options, on_token);
  }
  void merge_into(const std::filesystem::path& folder, std::int64_t max_shard_size) override {
    merge(model_);
    save_llama(model_, folder, model_.folder(), {.max_shard_size = max_shard_size});
  }

 private:
  /// An adapter that was trained on top of others acts with them, where they are loaded.
  std::vector<std::string> with_those_below(const AdapterSource& source) const {
    auto out = read_stacked_on(source.folder);
    std::erase_if(out, [&](const std::string& name) { return std::ranges::count(adapters_.names(), name) == 0; });
    out.push_back(source.name);
    return out;
  }
  std::function<std::vector<double>(const Batch&)> losses() const {
    return [this](const Batch& batch) {
      return members_.empty() ? model_.token_losses(batch) : ensemble_token_losses(model_, adapters_, members_, batch);
    };
  }

  PretrainedLlama<T, D> model_;
  mutable Adapters<PretrainedLlama<T, D>> adapters_;  // an ensemble's members take turns, and leave things as they were
  std::vector<EnsembleMember> members_;
};

}  // namespace hone::cli
