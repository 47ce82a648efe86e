// Rows and the bundled tokenizer, for tests of what training is fed.
#pragma once

#include <hone/train/batches.hpp>

#include <doctest/doctest.h>

#include "support/files.hpp"

namespace hone::test {

inline const Tokenizer& tiny_tokenizer() {
  static const auto tokenizer =
      Tokenizer::from_folder(std::filesystem::path(HONE_SOURCE_DIR) / "examples" / "data" / "tiny");
  return tokenizer;
}

inline Row row(const std::string& prompt, const std::string& completion, std::int64_t line = 1) {
  Row out;
  out.prompt = prompt;
  out.completion = completion;
  out.line = line;
  return out;
}

/// An example of `length` ids, all supervised.
inline Example example_of(std::int64_t length) {
  const auto count = static_cast<std::size_t>(length);
  return {std::vector<std::int32_t>(count, 5), std::vector<bool>(count, true)};
}

}  // namespace hone::test
