// Tokens and their ids, both ways, read from a file that may say anything.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hone {

/// A set of tokens, no id and no text twice. Ids may have holes, but not so many that a small file takes much memory.
class Vocabulary {
 public:
  static Vocabulary from_json(const nlohmann::json& vocab, std::string_view origin) {
    check(vocab.is_object(), "[{}] \"vocab\" is {}; an object of token: id was expected", origin,
          detail::json_summary(vocab));
    Vocabulary out;
    const auto limit = highest_id(vocab.size());
    out.by_text_.reserve(vocab.size());
    for (const auto& [text, id] : vocab.items()) {
      out.add(text, static_cast<std::int32_t>(json_int(id, text, origin, 0, limit)), origin);
    }
    return out;
  }

  /// The largest id accepted in a vocabulary of `tokens` entries.
  static std::int64_t highest_id(std::size_t tokens) {
    constexpr std::int64_t spare = 1 << 16, most = 1 << 28;
    return std::min(4 * static_cast<std::int64_t>(tokens) + spare, most);
  }

  /// Adds a token. An Error names `origin` when the text or the id is taken.
  void add(std::string text, std::int32_t id, std::string_view origin) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= by_id_.size()) by_id_.resize(index + 1, nullptr);
    check(by_id_[index] == nullptr, "[{}] id {} is given to \"{}\" and to \"{}\"", origin, id,
          by_id_[index] == nullptr ? "" : *by_id_[index], text);
    // A deque never moves its strings, so views and pointers to them stay good, copies apart.
    const auto& stored = texts_.emplace_back(std::move(text));
    const auto [at, fresh] = by_text_.emplace(stored, id);
    check(fresh, "[{}] token \"{}\" has the ids {} and {}", origin, stored, at->second, id);
    by_id_[index] = &stored;
  }

  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  std::optional<std::int32_t> find(std::string_view text) const {
    const auto found = by_text_.find(text);
    return found == by_text_.end() ? std::nullopt : std::optional(found->second);
  }

  /// The token's text, or null for an id that has none.
  const std::string* text(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < by_id_.size() ? by_id_[static_cast<std::size_t>(id)] : nullptr;
  }

  std::size_t size() const { return texts_.size(); }
  /// One more than the highest id.
  std::int32_t id_count() const { return static_cast<std::int32_t>(by_id_.size()); }

  /// Calls body(text, id) for every token.
  template <class Body>
  void for_each(Body&& body) const {
    for (const auto& [text, id] : by_text_) body(text, id);
  }

 private:
  std::deque<std::string> texts_;
  std::unordered_map<std::string_view, std::int32_t> by_text_;
  std::vector<const std::string*> by_id_;
};

}  // namespace hone
