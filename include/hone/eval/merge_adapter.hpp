// Folding an adapter into a base on disk, and what that costs: merged weights are rounded, and a base that was
// quantised while the adapter trained is not the one that was there before. Each way is compared with the adapter on
// its base.
#pragma once

#include <hone/eval/merge_options.hpp>
#include <hone/models/llama_folder.hpp>
#include <hone/peft/adapter_folder.hpp>

#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

namespace hone {

namespace detail {

template <class T, Device D>
class AdapterMerge {
 public:
  AdapterMerge(std::filesystem::path base, std::filesystem::path adapter, const D& device, const MergeOptions& options)
      : base_(std::move(base)),
        adapter_(std::move(adapter)),
        device_(device),
        options_(options),
        own_(read_llama_config(base_ / "config.json")),
        trained_(own_) {
    if (options.quantization) trained_.quantization = options.quantization;
  }

  std::vector<MergeRow> run(const std::filesystem::path& output, const Batch& text, std::int64_t tokens) {
    std::vector<MergeOnto> ways;
    if (!own_.quantization) ways.push_back(MergeOnto::base);
    if (trained_.quantization) {
      ways.push_back(MergeOnto::dequantised);
      ways.push_back(MergeOnto::requantised);
    }
    check(std::ranges::count(ways, options_.onto) == 1, "[merge] cannot merge onto the {} weights of {}: {}",
          name_of(options_.onto), base_.string(),
          own_.quantization
              ? "they are stored quantised, so there are no others to go back to (dequantised, requantised)"
              : "the base is not quantised; say how it was while the adapter trained (load_in_4bit)");
    if (tokens > 0) reference_ = logits_on_base(text);
    std::vector<MergeRow> rows;
    for (const MergeOnto onto : ways) {
      if (tokens == 0 && onto != options_.onto) continue;
      rows.push_back(one(onto, output, text, tokens));
    }
    return rows;
  }

 private:
  PretrainedLlama<T, D> load(const LlamaConfig& config, const std::filesystem::path& folder) {
    return load_llama<T>(folder, device_, config);
  }
  /// Notes are told once, however often the adapter is loaded.
  void load_noted(PretrainedLlama<T, D>& model) {
    for (const std::string& note : load_adapter(model, adapter_))
      if (options_.note && !told_) options_.note(note);
    told_ = true;
  }
  std::vector<Accumulator<T>> logits_on_base(const Batch& text) {
    auto model = load(trained_, base_);
    load_noted(model);
    return model.logits(text).to_vector();
  }

  /// Dense weights; `rounded`: through the quantisation the adapter trained on.
  PretrainedLlama<T, D> dense(bool rounded) {
    LlamaConfig config = own_;
    config.quantization.reset();
    auto model = load(config, base_);
    if (!rounded || own_.quantization) return model;
    auto stored = load(trained_, base_);
    std::vector<std::pair<Linear<T, D>*, std::size_t>> parts;
    stored.visit_linears(
        [&](const std::string&, Linear<T, D>& linear, std::size_t part) { parts.emplace_back(&linear, part); });
    std::size_t next = 0;
    model.visit_linears([&](const std::string&, Linear<T, D>& linear, std::size_t part) {
      const auto [from, its_part] = parts[next++];
      if (from->part(its_part).quantised != nullptr) copy_into(from->dense_part(its_part), linear.part(part).weight);
    });
    return model;
  }

  MergeRow one(MergeOnto onto, const std::filesystem::path& output, const Batch& text, std::int64_t tokens) {
    auto model = dense(onto != MergeOnto::base);
    load_noted(model);
    merge(model);
    model.set_base_trainable(false);
    if (onto == MergeOnto::requantised) return requantised(model, output, text, tokens);
    return finish(model, onto, output, text, tokens);
  }

  /// Quantises what is merged by writing it down and reading it again, as `hone quantize` would.
  MergeRow requantised(PretrainedLlama<T, D>& merged, const std::filesystem::path& output, const Batch& text,
                       std::int64_t tokens) {
    const AtomicFolder between(output.string() + ".dense");  // never committed: it goes when this returns
    save_llama(merged, between.path(), base_);
    LlamaConfig config = merged.config();
    config.quantization = trained_.quantization;
    auto model = load(config, between.path());
    return finish(model, MergeOnto::requantised, output, text, tokens);
  }

  MergeRow finish(PretrainedLlama<T, D>& model, MergeOnto onto, const std::filesystem::path& output, const Batch& text,
                  std::int64_t tokens) {
    MergeRow out{.onto = onto, .agreement = {}, .written = onto == options_.onto};
    if (tokens > 0) {
      using S = Accumulator<T>;
      const auto logits = model.logits(text).to_vector();
      out.agreement =
          agreement(std::span<const S>(reference_), std::span<const S>(logits), tokens, model.config().vocab_size);
    }
    if (out.written) save_llama(model, output, base_, options_.save);
    return out;
  }

  std::filesystem::path base_, adapter_;
  D device_;
  MergeOptions options_;
  LlamaConfig own_, trained_;
  bool told_ = false;
  std::vector<Accumulator<T>> reference_;
};

}  // namespace detail

/// Merges the adapter of a folder into the base of another and writes `output`. With a text, the first `tokens` tokens
/// of `text`, every way to merge is compared with the adapter on its base. Adapters whose algebra forbids it are
/// Errors.
template <class T, Device D>
std::vector<MergeRow> merge_adapter(const std::filesystem::path& base, const std::filesystem::path& adapter,
                                    const std::filesystem::path& output, const D& device,
                                    const MergeOptions& options = {}, const Batch& text = {}, std::int64_t tokens = 0) {
  return detail::AdapterMerge<T, D>(base, adapter, device, options).run(output, text, tokens);
}

}  // namespace hone
