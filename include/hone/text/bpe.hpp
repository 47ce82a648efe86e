// Byte-pair encoding (Sennrich et al. 2016): a word's characters, joined pair by pair in the order of the merge list.
#pragma once

#include <hone/core/error.hpp>
#include <hone/text/flat_map.hpp>
#include <hone/text/utf8.hpp>
#include <hone/text/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hone {

/// What BPE does besides merging.
struct BpeSettings {
  std::optional<std::int32_t> unknown = std::nullopt;  // stands for characters outside the vocabulary
  bool fuse_unknown = false;                           // one for a whole run of them
  bool byte_fallback = false;                          // spell them as <0x00> .. <0xFF> first
  bool ignore_merges = false;                          // a word that is a token is that token
};

/// Working memory of one thread, and the words it has met.
class BpeScratch {
 private:
  friend class Bpe;

  struct Symbol {
    std::int32_t id;
    std::int32_t previous;
    std::int32_t next;
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t left;
    std::int32_t merged;
    // The heap's top must be the lowest rank, and of equal ranks the leftmost.
    friend bool operator<(const Candidate& a, const Candidate& b) {
      return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
    }
  };
  struct Span {
    std::size_t begin;
    std::size_t end;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  std::unordered_map<std::string, Span, Hash, std::equal_to<>> words_;
  std::vector<std::int32_t> word_ids_;
};

/// A vocabulary with its merges. Immutable and thread-safe; each thread brings its own scratch.
class Bpe {
 public:
  /// `merges` are (left, right) in order of rank. An Error names `origin` when a part or the whole is no token.
  Bpe(Vocabulary vocabulary, const std::vector<std::pair<std::string, std::string>>& merges, BpeSettings settings,
      std::string_view origin)
      : vocabulary_(std::move(vocabulary)), settings_(settings), merges_(merges.size()) {
    std::int32_t rank = 0;
    for (const auto& merge : merges) {
      const auto &left = merge.first, &right = merge.second;
      const auto place = [&] { return fmt::format("merges[{}] (\"{}\" + \"{}\")", rank, left, right); };
      const auto token = [&](const std::string& text) {
        const auto id = vocabulary_.find(text);
        if (!id) fail("[{}] {}: \"{}\" is not in the vocabulary", origin, place(), text);
        return *id;
      };
      if (left.empty() || right.empty()) fail("[{}] {}: an empty part", origin, place());
      const auto key = pair_key(token(left), token(right));
      merges_.set(key, {rank, token(left + right)});
      ++rank;
      bridges_.set(pair_key(last_character(left), utf8_code_point(right)), true);
    }
    vocabulary_.for_each([&](std::string_view text, std::int32_t id) {
      if (!text.empty() && utf8_length(text[0]) == text.size()) characters_.set(utf8_code_point(text), id);
    });
    for (int byte = 0; byte < 256; ++byte) {
      byte_tokens_[static_cast<std::size_t>(byte)] = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
    }
  }

  const Vocabulary& vocabulary() const { return vocabulary_; }

  /// Appends the ids of one piece of valid UTF-8, cost O(n log n).
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<std::int32_t>& out) const {
    if (settings_.ignore_merges) {
      if (const auto whole = vocabulary_.find(piece)) return out.push_back(*whole);
    }
    if (piece.size() <= longest_remembered) return encode_word(piece, scratch, out);
    cut(piece, [&](std::string_view word) { encode_word(word, scratch, out); });
  }

 private:
  using Scratch = BpeScratch;
  struct Merge {
    std::int32_t rank;
    std::int32_t merged;
  };

  static constexpr std::size_t longest_remembered = 64;
  static constexpr std::size_t most_words = 1 << 16;

  /// Of two ids or two code points.
  template <class T>
  static std::uint64_t pair_key(T left, T right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
  }
  static char32_t last_character(std::string_view text) { return utf8_code_point(text.substr(utf8_last(text))); }

  const std::int32_t* character(char32_t c) const { return characters_.find(c); }

  /// Cuts a long piece where no merge can reach across: between two characters of the vocabulary that no merge has as
  /// its left part's end and its right part's beginning. A token's text is that of its characters in a row, so merging
  /// the parts for themselves gives what merging the whole would.
  template <class Word>
  void cut(std::string_view piece, Word&& word) const {
    std::size_t begin = 0;
    char32_t before = 0;
    bool before_known = false;
    for_each_code_point(piece, [&](char32_t c, std::size_t at, std::size_t) {
      const bool known = character(c) != nullptr;
      if (known && before_known && bridges_.find(pair_key(before, c)) == nullptr) {
        word(piece.substr(begin, at - begin));
        begin = at;
      }
      before = c;
      before_known = known;
    });
    word(piece.substr(begin));
  }

  void encode_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const {
    if (word.size() > longest_remembered) return merge_word(word, scratch, out);
    auto& ids = scratch.word_ids_;
    auto known = scratch.words_.find(word);
    if (known == scratch.words_.end()) {
      if (scratch.words_.size() >= most_words) {
        scratch.words_.clear();
        ids.clear();
      }
      const auto begin = ids.size();
      merge_word(word, scratch, ids);
      known = scratch.words_.emplace(word, Scratch::Span{begin, ids.size()}).first;
    }
    const auto first = ids.begin();
    out.insert(out.end(), first + static_cast<std::ptrdiff_t>(known->second.begin),
               first + static_cast<std::ptrdiff_t>(known->second.end));
  }

  /// The word's characters as symbols in a linked list, none merged yet.
  void spell(std::string_view word, Scratch& scratch) const {
    auto& symbols = scratch.symbols_;
    symbols.clear();
    const auto put = [&](std::int32_t id) {
      const auto at = static_cast<std::int32_t>(symbols.size());
      symbols.push_back({id, at - 1, at + 1});
    };
    // As in the Rust library, an unknown waits for the next known character; bytes spelled out do not release it.
    bool waiting = false;
    const auto release = [&] {
      if (waiting) put(*settings_.unknown);
      waiting = false;
    };
    for_each_code_point(word, [&](char32_t c, std::size_t at, std::size_t length) {
      if (const auto* id = character(c)) {
        release();
        return put(*id);
      }
      if (settings_.byte_fallback && spell_bytes(word.substr(at, length), put)) return;
      if (!settings_.unknown) return;  // nothing stands for it: the Rust library drops it too
      if (!settings_.fuse_unknown) release();
      waiting = true;
    });
    release();
    if (!symbols.empty()) symbols.back().next = -1;
  }

  /// Puts one byte token per byte; false, and nothing put, when one of them is not in the vocabulary.
  template <class Put>
  bool spell_bytes(std::string_view character, Put&& put) const {
    const auto token = [&](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
    if (!std::all_of(character.begin(), character.end(), [&](char byte) { return token(byte).has_value(); })) {
      return false;
    }
    for (const char byte : character) put(*token(byte));
    return true;
  }

  void propose(std::int32_t left, Scratch& scratch) const {
    const auto& symbol = scratch.symbols_[static_cast<std::size_t>(left)];
    if (symbol.next < 0) return;
    const auto& right = scratch.symbols_[static_cast<std::size_t>(symbol.next)];
    if (const auto* merge = merges_.find(pair_key(symbol.id, right.id))) {
      scratch.heap_.push_back({merge->rank, left, merge->merged});
    }
  }

  /// Always the pair of lowest rank next, of several such the leftmost, until none is left.
  void merge_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const {
    spell(word, scratch);
    auto& symbols = scratch.symbols_;
    auto& heap = scratch.heap_;
    const auto symbol = [&](std::int32_t at) -> auto& { return symbols[static_cast<std::size_t>(at)]; };
    const auto propose_now = [&](std::int32_t left) {
      const auto before = heap.size();
      propose(left, scratch);
      if (heap.size() != before) std::push_heap(heap.begin(), heap.end());
    };
    heap.clear();
    for (std::size_t at = 0; at < symbols.size(); ++at) propose(static_cast<std::int32_t>(at), scratch);
    std::make_heap(heap.begin(), heap.end());
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const auto candidate = heap.back();
      heap.pop_back();
      auto& left = symbol(candidate.left);
      if (left.id < 0 || left.next < 0) continue;
      // The neighbours may have merged since this was proposed.
      const auto* merge = merges_.find(pair_key(left.id, symbol(left.next).id));
      if (merge == nullptr || merge->merged != candidate.merged) continue;
      auto& right = symbol(left.next);
      left.id = candidate.merged;
      left.next = right.next;
      right.id = -1;
      if (left.next >= 0) symbol(left.next).previous = candidate.left;
      if (left.previous >= 0) propose_now(left.previous);
      propose_now(candidate.left);
    }
    for (const auto& s : symbols) {
      if (s.id >= 0) out.push_back(s.id);
    }
  }

  Vocabulary vocabulary_;
  BpeSettings settings_;
  FlatMap<Merge> merges_;             // (left id, right id)
  FlatMap<bool> bridges_;             // (last character of a left part, first of its right part)
  FlatMap<std::int32_t> characters_;  // the tokens that are one character
  std::array<std::optional<std::int32_t>, 256> byte_tokens_;
};

}  // namespace hone
