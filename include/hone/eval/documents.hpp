// Documents of a text file, and what a model thinks of them.
#pragma once

#include <hone/io/text_file.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// How a text file falls into documents.
enum class TextDocuments {
  blocks,  ///< runs of lines between blank lines
  lines,   ///< every line that is not empty
  whole,   ///< the file as one
};

/// The documents of a text.
inline std::vector<std::string> split_documents(std::string_view text, TextDocuments how) {
  std::vector<std::string> out;
  if (how == TextDocuments::whole) {
    if (!text.empty()) out.emplace_back(text);
    return out;
  }
  std::string block;
  const auto finish = [&] {
    if (!block.empty()) out.push_back(std::move(block));
    block.clear();
  };
  for (const std::string_view line : split_lines(text)) {
    const bool blank = line.find_first_not_of(" \t\r") == line.npos;
    if (blank || how == TextDocuments::lines) finish();
    if (blank) continue;
    block += (block.empty() ? "" : "\n") + std::string(line);
  }
  finish();
  return out;
}

/// Sum of the negative log-likelihoods of one document, and over how many tokens (BOS is not one of them).
struct DocumentLikelihood {
  double nll = 0;
  std::int64_t tokens = 0;

  double mean() const { return tokens == 0 ? 0 : nll / static_cast<double>(tokens); }
};

/// All documents together.
inline DocumentLikelihood total(const std::vector<DocumentLikelihood>& documents) {
  DocumentLikelihood sum;
  for (const auto& document : documents) {
    sum.nll += document.nll;
    sum.tokens += document.tokens;
  }
  return sum;
}

}  // namespace hone
