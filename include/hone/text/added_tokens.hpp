// Added tokens: found in the text as they are written, before anything else gets at it.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/text/pieces.hpp>
#include <hone/text/unicode.hpp>
#include <hone/text/utf8.hpp>
#include <hone/text/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace hone {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for in normalised text, in its own normalised form
  bool special = false;      // not text: left out of decoded text
};

/// The longest of a set of strings at a place in a text.
class LongestMatch {
 public:
  struct Hit {
    std::size_t length = 0;
    const AddedToken* token = nullptr;
  };

  /// Of two tokens with one text, the first stays.
  void add(std::string_view text, const AddedToken* token) {
    std::size_t node = 0;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (node == 0) begins_[byte] = true;
      auto& next = nodes_[node].next;
      const auto found = std::find_if(next.begin(), next.end(), [&](const auto& edge) { return edge.first == byte; });
      if (found != next.end()) {
        node = found->second;
      } else {
        next.emplace_back(byte, nodes_.size());
        node = nodes_.size();
        nodes_.emplace_back();
      }
    }
    if (nodes_[node].token == nullptr) nodes_[node].token = token;
  }

  bool empty() const { return nodes_.size() == 1; }

  Hit at(std::string_view text, std::size_t begin) const {
    Hit best;
    if (!begins_[static_cast<unsigned char>(text[begin])]) return best;
    std::size_t node = 0;
    for (std::size_t i = begin; i < text.size(); ++i) {
      const auto& next = nodes_[node].next;
      const auto byte = static_cast<unsigned char>(text[i]);
      const auto edge = std::find_if(next.begin(), next.end(), [&](const auto& e) { return e.first == byte; });
      if (edge == next.end()) break;
      node = edge->second;
      if (nodes_[node].token != nullptr) best = {i + 1 - begin, nodes_[node].token};
    }
    return best;
  }

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::size_t>> next;
    const AddedToken* token = nullptr;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<bool, 256> begins_{};
};

/// The added tokens of a tokenizer, and where they stand in a text (as the Rust library finds them).
class AddedTokens {
 public:
  /// `normalise(text)` gives the normalised form of a token. A token that the model knows must have the model's id.
  template <class Normalise>
  AddedTokens(const nlohmann::json* list, const Vocabulary& model, Normalise&& normalise, std::string_view origin) {
    if (list == nullptr) return;
    check(list->is_array(), "[{}] \"added_tokens\" is {}; an array was expected", origin, detail::json_summary(*list));
    const auto limit = Vocabulary::highest_id(model.size() + list->size());
    tokens_.reserve(list->size());
    for (const auto& entry : *list) {
      const auto place = fmt::format("{} added_tokens[{}]", origin, tokens_.size());
      auto token = read(entry, limit, place);
      refuse_conflicts(token, model, place);
      vocabulary_.add(token.content, token.id, place);
      tokens_.push_back(std::move(token));
    }
    for (const auto& token : tokens_) {
      if (token.special) special_.insert(token.id);
      if (token.normalized) {
        std::string form = token.content;
        normalise(form);
        if (!form.empty()) in_normalised_.add(form, &token);
      } else {
        in_raw_.add(token.content, &token);
      }
    }
  }

  AddedTokens(AddedTokens&&) = default;  // the vector's tokens stay where they are

  const Vocabulary& vocabulary() const { return vocabulary_; }
  bool is_special(std::int32_t id) const { return special_.contains(id); }

  /// Cuts out the tokens that are looked for in raw text, or those for normalised text. Special ones stay text unless
  /// `parse_special`.
  void cut_raw(Pieces& pieces, bool parse_special) const { cut(pieces, in_raw_, parse_special); }
  void cut_normalised(Pieces& pieces, bool parse_special) const { cut(pieces, in_normalised_, parse_special); }

 private:
  static AddedToken read(const nlohmann::json& entry, std::int64_t limit, std::string_view place) {
    const auto flag = [&](std::string_view key) { return find_bool(entry, key, place).value_or(false); };
    AddedToken token;
    token.content = get_string(entry, "content", place);
    check(!token.content.empty(), "[{}] \"content\" is empty", place);
    token.id = static_cast<std::int32_t>(get_int(entry, "id", place, 0, limit));
    token.single_word = flag("single_word");
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    token.special = flag("special");
    token.normalized = find_bool(entry, "normalized", place).value_or(!token.special);
    return token;
  }

  static void refuse_conflicts(const AddedToken& token, const Vocabulary& model, std::string_view place) {
    const auto known = model.find(token.content);
    check(!known || *known == token.id, "[{}] \"{}\" has id {} here and {} in the model's vocabulary", place,
          token.content, token.id, known.value_or(0));
    const auto* other = model.text(token.id);
    check(known || other == nullptr, "[{}] \"{}\" has id {}, which is the model's \"{}\"", place, token.content,
          token.id, other == nullptr ? "" : *other);
  }

  static std::size_t spaces_before(std::string_view text, std::size_t end) {
    while (end > 0) {
      const auto last = utf8_last(text.substr(0, end));
      if (!is_space(utf8_code_point(text.substr(last)))) break;
      end = last;
    }
    return end;
  }
  static std::size_t spaces_after(std::string_view text, std::size_t begin) {
    while (begin < text.size() && is_space(utf8_code_point(text.substr(begin)))) begin += utf8_length(text[begin]);
    return begin;
  }
  static bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
    const bool word_before = begin > 0 && is_word(utf8_code_point(text.substr(utf8_last(text.substr(0, begin)))));
    const bool word_after = end < text.size() && is_word(utf8_code_point(text.substr(end)));
    return !word_before && !word_after;
  }

  /// Leftmost matches, of several at one place the longest. A match that does not count still uses up its text.
  static void cut(Pieces& pieces, const LongestMatch& matcher, bool parse_special) {
    if (matcher.empty()) return;
    pieces.refine([&](std::string_view text, auto&& add) {
      std::size_t done = 0;
      for (std::size_t at = 0; at < text.size();) {
        const auto hit = matcher.at(text, at);
        if (hit.token == nullptr) {
          ++at;
          continue;
        }
        auto begin = at;
        auto end = at += hit.length;
        if (hit.token->special && !parse_special) continue;
        if (hit.token->single_word && !stands_alone(text, begin, end)) continue;
        if (hit.token->lstrip) begin = std::max(spaces_before(text, begin), done);
        if (hit.token->rstrip) end = spaces_after(text, end);
        if (done < begin) add(done, begin);
        add(begin, end, hit.token->id);
        done = end;
      }
      if (done < text.size()) add(done, text.size());
    });
  }

  std::vector<AddedToken> tokens_;
  Vocabulary vocabulary_;
  std::unordered_set<std::int32_t> special_;
  LongestMatch in_raw_;
  LongestMatch in_normalised_;
};

}  // namespace hone
