// Which examples meet in which batch: a seeded order for every epoch, known in full before the first step.
#pragma once

#include <hone/core/philox.hpp>
#include <hone/train/examples.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

namespace hone {

/// A permutation of [0, count): Fisher and Yates' shuffle on Philox words. The same on every machine.
inline std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed, std::uint64_t stream) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) {
    const auto words = philox(seed, stream, i);
    const std::uint64_t draw = (std::uint64_t{words[0]} << 32) | words[1];
    std::swap(order[i - 1], order[static_cast<std::size_t>(draw % i)]);
  }
  return order;
}

struct BatchOptions {
  std::int64_t batch_size = 4;
  std::int64_t max_length = 1024;
  bool packing = false;  ///< fill batches of batch_size x max_length tokens with as many whole examples as fit
  bool shuffle = true;
  std::uint64_t seed = 42;
};

/// The batches of a run as lists of example numbers. A pure function of (examples, options, epoch), so that a resumed
/// run sees the same ones.
class BatchPlan {
 public:
  BatchPlan(const std::vector<Example>& examples, const BatchOptions& options)
      : examples_(&examples), options_(options), most_documents_(options.packing ? 0 : options.batch_size + 1) {
    check(options.batch_size >= 1, "batch_size: {} must be at least 1", options.batch_size);
  }

  std::vector<std::vector<std::size_t>> epoch(std::int64_t number) const {
    std::vector<std::size_t> order;
    if (options_.shuffle) {
      order = shuffled(examples_->size(), options_.seed, static_cast<std::uint64_t>(number));
    } else {
      order.resize(examples_->size());
      std::iota(order.begin(), order.end(), std::size_t{0});
    }
    std::vector<std::vector<std::size_t>> batches;
    std::int64_t tokens = 0;
    for (const std::size_t index : order) {
      const auto length = static_cast<std::int64_t>((*examples_)[index].ids.size());
      const bool full = batches.empty() ||
                        (options_.packing ? tokens + length > capacity()
                                          : static_cast<std::int64_t>(batches.back().size()) == options_.batch_size);
      if (full) {
        batches.emplace_back();
        tokens = 0;
      }
      batches.back().push_back(index);
      tokens += length;
    }
    return batches;
  }

  Batch make(const std::vector<std::size_t>& members) const {
    Batch batch;
    fill(batch, members);
    return batch;
  }
  /// The same in a batch that is used again.
  void fill(Batch& batch, const std::vector<std::size_t>& members) const {
    batch.clear();
    batch.most_documents = most_documents_;
    for (const std::size_t index : members) batch.add((*examples_)[index]);
    batch.pad_to_multiple(options_.packing ? round_up(capacity(), token_multiple) : token_multiple);
  }

  /// The most documents of a batch, its padding included; 0 where packing leaves that open until it is told.
  std::int64_t most_documents() const { return most_documents_; }
  void set_most_documents(std::int64_t most) { most_documents_ = most; }

  /// Tokens of the batch make() would give.
  std::int64_t tokens(const std::vector<std::size_t>& members) const {
    std::int64_t sum = 0;
    for (const std::size_t index : members) sum += static_cast<std::int64_t>((*examples_)[index].ids.size());
    return round_up(sum, options_.packing ? round_up(capacity(), token_multiple) : token_multiple);
  }

 private:
  std::int64_t capacity() const { return options_.batch_size * options_.max_length; }

  const std::vector<Example>* examples_;
  BatchOptions options_;
  std::int64_t most_documents_;
};

/// Batches of a JSONL file for a plain loop: `for (const auto& batch : instruction_batches(path, tokenizer, {...}))`.
struct InstructionBatchOptions {
  std::int64_t max_length = 1024;
  std::int64_t batch_size = 4;
  std::int64_t epochs = 1;
  Truncation truncation = Truncation::drop;
  bool packing = false;
  bool shuffle = true;
  std::uint64_t seed = 42;
};

/// Every batch of every epoch, in order.
inline std::vector<Batch> instruction_batches(const std::filesystem::path& path, const Tokenizer& tokenizer,
                                              const InstructionBatchOptions& options = {}) {
  const auto examples = load_examples(path, tokenizer, {options.max_length, options.truncation});
  const BatchPlan plan(examples.items,
                       {options.batch_size, options.max_length, options.packing, options.shuffle, options.seed});
  std::vector<Batch> out;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch)
    for (const auto& members : plan.epoch(epoch)) out.push_back(plan.make(members));
  return out;
}

}  // namespace hone
