// Rows to token sequences: one BOS in front, one EOS behind, the loss on the completion.
#pragma once

#include <hone/nn/batch.hpp>
#include <hone/text/rows.hpp>
#include <hone/text/tokenizer.hpp>
#include <hone/train/truncation.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace hone {

struct ExampleOptions {
  std::int64_t max_length = 1024;
  Truncation truncation = Truncation::drop;
};

struct Examples {
  std::vector<Example> items;
  std::int64_t dropped = 0;    ///< rows longer than max_length that were left out
  std::int64_t truncated = 0;  ///< rows that were cut
};

namespace detail {

/// BOS + prompt, as generation sees it.
inline std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const std::string& prompt) {
  return tokenizer.encode_with_bos(prompt);
}

/// Ids of a row and which of them count. Prompt and completion are encoded together; where a token would span the
/// border they are encoded apart, so that the prompt's ids are always those generation will see.
inline Example encode_row(const Tokenizer& tokenizer, const Row& row) {
  Example out;
  const auto prompt = prompt_ids(tokenizer, row.prompt);
  out.ids = tokenizer.encode_with_bos(row.prompt + row.completion);
  if (out.ids.size() < prompt.size() || !std::equal(prompt.begin(), prompt.end(), out.ids.begin())) {
    out.ids = prompt;
    const auto rest = tokenizer.encode(row.completion, {.add_special_tokens = false});
    out.ids.insert(out.ids.end(), rest.begin(), rest.end());
  }
  if (const auto eos = tokenizer.eos_id()) out.ids.push_back(*eos);
  out.supervised.assign(out.ids.size(), true);
  std::fill_n(out.supervised.begin(), prompt.size(), false);
  return out;
}

inline void cut(Example& example, std::int64_t max_length, Truncation truncation) {
  const auto excess = static_cast<std::ptrdiff_t>(example.ids.size()) - max_length;
  const auto first =
      truncation == Truncation::left ? std::ptrdiff_t{1} : static_cast<std::ptrdiff_t>(max_length);  // BOS stays
  example.ids.erase(example.ids.begin() + first, example.ids.begin() + first + excess);
  example.supervised.erase(example.supervised.begin() + first, example.supervised.begin() + first + excess);
}

}  // namespace detail

/// Tokenizes rows. A row without any supervised token is an Error, as is an id the model has no row for; `origin` names
/// the file.
inline Examples make_examples(const std::vector<Row>& rows, const Tokenizer& tokenizer, const ExampleOptions& options,
                              const std::string& origin) {
  check(options.max_length >= 2, "max_length: {} is too short; at least 2 tokens are needed", options.max_length);
  Examples out;
  for (const Row& row : rows) {
    Example example = detail::encode_row(tokenizer, row);
    const auto length = static_cast<std::int64_t>(example.ids.size());
    if (length > options.max_length) {
      check(options.truncation != Truncation::error,
            "[{}:{}] the row has {} tokens, max_length is {} (and truncation is error)", origin, row.line, length,
            options.max_length);
      if (options.truncation == Truncation::drop) {
        ++out.dropped;
        continue;
      }
      detail::cut(example, options.max_length, options.truncation);
      ++out.truncated;
    }
    check(example.supervised_tokens() > 0, "[{}:{}] the row has no supervised token{}", origin, row.line,
          length > options.max_length ? ": truncation removed its whole completion" : "");
    out.items.push_back(std::move(example));
  }
  check(!out.items.empty(), "[{}] no row is left: all {} are longer than max_length {}", origin, out.dropped,
        options.max_length);
  return out;
}

/// Reads and tokenizes a JSONL file.
inline Examples load_examples(const std::filesystem::path& path, const Tokenizer& tokenizer,
                              const ExampleOptions& options, RowFormat format = RowFormat::automatic) {
  return make_examples(read_rows(path, format), tokenizer, options, path.string());
}

}  // namespace hone
