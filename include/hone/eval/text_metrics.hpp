// How good is a generated text? Corpus BLEU-4, ROUGE-L, and the slot-error rate of data-to-text work.
#pragma once

#include <hone/core/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// One or more reference texts for each generated text.
using References = std::vector<std::string>;

namespace text_metrics {

// Character classes by hand: <cctype> follows the locale, and a metric must not.
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
inline bool is_stop(char c) { return c == '.' || c == ','; }
/// ASCII punctuation that 13a always splits off: all of it but ' , - .
inline bool is_splitting(char c) {
  const bool punctuation =
      (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  return punctuation && c != '\'' && c != ',' && c != '-' && c != '.';
}

inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

/// Rewrites every non-overlapping pair of neighbours that `match` accepts, left to right, with spaces put in:
/// before the first, between the two, after the second.
template <class Match>
std::string space_pairs(std::string_view text, bool before, bool after, Match match) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i + 1 == text.size() || !match(text[i], text[i + 1])) {
      out += text[i];
      continue;
    }
    if (before) out += ' ';
    out += text[i];
    out += ' ';
    out += text[++i];
    if (after) out += ' ';
  }
  return out;
}

inline std::vector<std::string> split_spaces(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (char c : text) {
    if (!is_space(c)) {
      if (!inside) words.emplace_back();
      words.back() += c;
    }
    inside = !is_space(c);
  }
  return words;
}

using Counts = std::map<std::vector<std::string_view>, std::int64_t>;

inline Counts ngrams(const std::vector<std::string>& words, std::size_t n) {
  Counts counts;
  for (std::size_t i = 0; i + n <= words.size(); ++i) {
    const std::span gram(words.data() + i, n);
    ++counts[std::vector<std::string_view>(gram.begin(), gram.end())];
  }
  return counts;
}

/// n-grams of the hypothesis found in the references: each counted at most as often as the reference that has it most.
inline std::int64_t clipped_matches(const Counts& hypothesis, const std::vector<Counts>& references) {
  std::int64_t matches = 0;
  for (const auto& [gram, count] : hypothesis) {
    std::int64_t allowed = 0;
    for (const Counts& reference : references) {
      const auto found = reference.find(gram);
      if (found != reference.end()) allowed = std::max(allowed, found->second);
    }
    matches += std::min(count, allowed);
  }
  return matches;
}

/// Length of the longest common subsequence, by the textbook table kept as one row.
inline std::size_t lcs(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::size_t> row(b.size() + 1, 0);
  for (const std::string& word : a) {
    std::size_t diagonal = 0;  // row[j - 1] of the line above
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row[b.size()];
}

inline void check_corpus(std::string_view who, std::span<const std::string> hypotheses,
                         std::span<const References> references) {
  check(!hypotheses.empty(), "[{}] there are no texts to score", who);
  check(hypotheses.size() == references.size(), "[{}] {} texts, but references for {}", who, hypotheses.size(),
        references.size());
  for (std::size_t i = 0; i < references.size(); ++i)
    check(!references[i].empty(), "[{}] text {} has no reference", who, i);
}

}  // namespace text_metrics

/// Words and punctuation as mteval-v13a splits them (the default of the usual BLEU tools): entities &quot; &amp; &lt;
/// &gt; are resolved; ASCII punctuation stands alone, but ' stays in its word, . and , stay between digits, and - is
/// split only after a digit. Case is kept. Bytes above 127 are letters; only ASCII white space separates.
inline std::vector<std::string> tokenize_13a(std::string_view text) {
  using namespace text_metrics;
  std::string line(text);
  replace_all(line, "<skipped>", "");
  replace_all(line, "-\n", "");
  for (const auto& [entity, mark] : {std::pair{"&quot;", "\""}, {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}})
    replace_all(line, entity, mark);
  std::string spaced = " ";
  for (char c : line) {
    if (is_splitting(c)) spaced += ' ';
    spaced += c == '\n' ? ' ' : c;
    if (is_splitting(c)) spaced += ' ';
  }
  spaced += ' ';
  // Three passes in this order, as the definition has them: "1,000" survives, "no.5" is split before the stop only.
  spaced = space_pairs(spaced, false, true, [](char a, char b) { return !is_digit(a) && is_stop(b); });
  spaced = space_pairs(spaced, true, false, [](char a, char b) { return is_stop(a) && !is_digit(b); });
  spaced = space_pairs(spaced, false, true, [](char a, char b) { return is_digit(a) && b == '-'; });
  return split_spaces(spaced);
}

/// Corpus BLEU-4 and what it is made of.
struct Bleu {
  double score = 0;                               ///< 0 .. 100
  std::array<double, 4> precisions{};             ///< modified n-gram precisions, 0 .. 1
  double brevity_penalty = 1;                     ///< 0 .. 1
  std::int64_t length = 0, reference_length = 0;  ///< tokens; of the reference closest in length, the shorter on a tie
};

/// Corpus BLEU-4 over 13a tokens with any number of references, no smoothing: one precision of 0 gives 0.
///   BLEU = 100 · min(1, e^(1 - r/c)) · (p1 p2 p3 p4)^(1/4)        Papineni et al., ACL 2002
/// p_n and the lengths c, r are summed over the corpus before they are divided. Throws if sizes differ or a text has no
/// reference.
inline Bleu corpus_bleu(std::span<const std::string> hypotheses, std::span<const References> references) {
  using namespace text_metrics;
  check_corpus("bleu", hypotheses, references);
  Bleu bleu;
  std::array<std::int64_t, 4> matches{}, totals{};
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    const std::vector<std::string> words = tokenize_13a(hypotheses[i]);
    std::vector<std::vector<std::string>> others;
    for (const std::string& reference : references[i]) others.push_back(tokenize_13a(reference));
    const auto distance = [&](const auto& other) {
      const auto a = static_cast<std::int64_t>(other.size()), b = static_cast<std::int64_t>(words.size());
      return std::pair{a > b ? a - b : b - a, a};
    };
    bleu.length += static_cast<std::int64_t>(words.size());
    bleu.reference_length += std::ranges::min(others, {}, distance).size();
    for (std::size_t n = 1; n <= 4; ++n) {
      std::vector<Counts> counts;
      for (const auto& other : others) counts.push_back(ngrams(other, n));
      matches[n - 1] += clipped_matches(ngrams(words, n), counts);
      totals[n - 1] +=
          std::max<std::int64_t>(0, static_cast<std::int64_t>(words.size()) - static_cast<std::int64_t>(n) + 1);
    }
  }
  double log_sum = 0;
  for (std::size_t n = 0; n < 4; ++n) {
    if (totals[n] > 0) bleu.precisions[n] = static_cast<double>(matches[n]) / static_cast<double>(totals[n]);
    log_sum += std::log(bleu.precisions[n]);  // log 0 = -inf, and exp of that is the 0 wanted
  }
  if (bleu.length < bleu.reference_length)
    bleu.brevity_penalty =
        bleu.length == 0 ? 0
                         : std::exp(1 - static_cast<double>(bleu.reference_length) / static_cast<double>(bleu.length));
  bleu.score = 100 * bleu.brevity_penalty * std::exp(log_sum / 4);
  return bleu;
}

/// Lower-case runs of ASCII letters and digits: the words ROUGE compares.
inline std::vector<std::string> tokenize_rouge(std::string_view text) {
  std::string plain(text);
  for (char& c : plain) {
    c = text_metrics::lower(c);
    if (!text_metrics::is_digit(c) && !(c >= 'a' && c <= 'z')) c = ' ';
  }
  return text_metrics::split_spaces(plain);
}

/// ROUGE-L of one text against one reference, 0 .. 1: the F measure (beta 1) of the longest common subsequence,
///   P = LCS/|hypothesis|, R = LCS/|reference|, F = 2PR/(P+R)       Lin, ACL 2004 workshop
inline double rouge_l_sentence(std::string_view hypothesis, std::string_view reference) {
  const auto a = tokenize_rouge(hypothesis), b = tokenize_rouge(reference);
  if (a.empty() || b.empty()) return 0;
  // 2PR/(P+R) with the fractions cleared.
  return 2 * static_cast<double>(text_metrics::lcs(a, b)) / static_cast<double>(a.size() + b.size());
}

/// ROUGE-L of a corpus, 0 .. 100: for each text the best of its references, then the mean.
inline double rouge_l(std::span<const std::string> hypotheses, std::span<const References> references) {
  text_metrics::check_corpus("rouge_l", hypotheses, references);
  double sum = 0;
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    double best = 0;
    for (const std::string& reference : references[i])
      best = std::max(best, rouge_l_sentence(hypotheses[i], reference));
    sum += best;
  }
  return 100 * sum / static_cast<double>(hypotheses.size());
}

}  // namespace hone
