// Pre-tokenizers: they cut text into the words that BPE then works on, each for itself.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/text/byte_level.hpp>
#include <hone/text/component.hpp>
#include <hone/text/pattern.hpp>
#include <hone/text/pieces.hpp>
#include <hone/text/regex.hpp>
#include <hone/text/unicode.hpp>
#include <hone/text/utf8.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

class PreTokenizer;

/// Where Metaspace puts its mark in front: before every stretch of text, only where the text begins, nowhere.
enum class PrependScheme { always, first, never };

/// The settings that the pre-tokenizer and the decoder Metaspace share.
struct MetaspaceSettings {
  std::string replacement;  // one character
  PrependScheme scheme;
  bool split;

  static MetaspaceSettings from_json(const nlohmann::json& component, const std::string& origin) {
    MetaspaceSettings out{get_string(component, "replacement", origin), PrependScheme::always,
                          find_bool(component, "split", origin).value_or(true)};
    check(!out.replacement.empty() && utf8_length(out.replacement[0]) == out.replacement.size(),
          "[{}] \"replacement\" must be one character, got \"{}\"", origin, out.replacement);
    const auto scheme = find_string(component, "prepend_scheme", origin);
    // Before prepend_scheme there was only this flag.
    const bool prefix = find_bool(component, "add_prefix_space", origin).value_or(true);
    check(prefix || !scheme || *scheme == "never", "[{}] \"add_prefix_space\": false contradicts \"{}\"", origin,
          scheme.value_or(""));
    if (!prefix || scheme == "never") {
      out.scheme = PrependScheme::never;
    } else if (scheme == "first") {
      out.scheme = PrependScheme::first;
    } else {
      check(!scheme || *scheme == "always", "[{}] \"prepend_scheme\" is \"{}\"; known: always, first, never", origin,
            scheme.value_or(""));
    }
    return out;
  }
};

namespace pre_tokenizers {

inline SplitBehavior split_behavior(const std::string& name, std::string_view origin) {
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  fail(
      "[{}] behavior \"{}\" is not supported; known: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous",
      origin, name);
}

/// Calls found(begin, end) for every character that is in the class.
template <class Class, class Found>
void walk_class(std::string_view text, Class&& is_member, Found&& found) {
  for_each_code_point(text, [&](char32_t c, std::size_t at, std::size_t length) {
    if (is_member(c)) found(at, at + length);
  });
}

struct Split {
  TextPattern pattern;
  SplitBehavior behavior;
  bool invert;
  void operator()(Pieces& pieces) const {
    pattern.with_matcher([&](auto& matcher) {
      pieces.split(behavior, invert, [&](std::string_view text, auto&& found) { matcher.for_each(text, found); });
    });
  }
};

/// Cuts with GPT-2's expression unless told not to, then spells bytes in the byte-level alphabet.
struct ByteLevel {
  bool add_prefix_space;
  std::optional<Regex> regex;
  void operator()(Pieces& pieces) const {
    if (add_prefix_space) {
      pieces.rewrite([](std::string_view text, bool, std::string& out) {
        if (!text.starts_with(' ')) out += ' ';
        out += text;
      });
    }
    if (regex) {
      auto matcher = regex->matcher();
      pieces.split(SplitBehavior::isolated, false,
                   [&](std::string_view text, auto&& found) { matcher.for_each(text, found); });
    }
    const auto& alphabet = ByteAlphabet::get();
    pieces.rewrite([&](std::string_view text, bool, std::string& out) { alphabet.encode(text, out); });
  }

  /// The expression of GPT-2's encoder (Radford et al. 2019), part of the format.
  static constexpr std::string_view gpt2_expression =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
};

/// Spells blanks with a visible mark and cuts before each mark.
struct Metaspace {
  MetaspaceSettings settings;
  void operator()(Pieces& pieces) const {
    const std::string_view mark = settings.replacement;
    pieces.rewrite([&](std::string_view text, bool at_start, std::string& out) {
      const bool wanted =
          settings.scheme == PrependScheme::always || (settings.scheme == PrependScheme::first && at_start);
      if (wanted && !text.starts_with(' ') && !text.starts_with(mark)) out += mark;
      for (const char c : text) c == ' ' ? out += mark : out += c;
    });
    if (!settings.split) return;
    pieces.split(SplitBehavior::merged_with_next, false,
                 [&](std::string_view text, auto&& found) { StringMatcher(mark).for_each(text, found); });
  }
};

struct Digits {
  bool individual;
  void operator()(Pieces& pieces) const {
    pieces.split(individual ? SplitBehavior::isolated : SplitBehavior::contiguous, false,
                 [](std::string_view text, auto&& found) { walk_class(text, is_numeric, found); });
  }
};

struct Punctuation {
  SplitBehavior behavior;
  void operator()(Pieces& pieces) const {
    pieces.split(behavior, false, [](std::string_view text, auto&& found) { walk_class(text, is_punctuation, found); });
  }
};

struct Sequence {
  std::vector<PreTokenizer> parts;
  void operator()(Pieces& pieces) const;
};

}  // namespace pre_tokenizers

/// Any pre-tokenizer of a tokenizer.json.
class PreTokenizer {
 public:
  using Value = std::variant<pre_tokenizers::Split, pre_tokenizers::ByteLevel, pre_tokenizers::Metaspace,
                             pre_tokenizers::Digits, pre_tokenizers::Punctuation, pre_tokenizers::Sequence>;

  PreTokenizer(Value value) : value_(std::move(value)) {}

  static PreTokenizer from_json(const nlohmann::json& component, const std::string& origin) {
    using namespace pre_tokenizers;
    const auto& type = detail::component_type(component, origin);
    if (type == "Split") {
      return Value(Split{TextPattern::from_json(component, origin),
                         split_behavior(get_string(component, "behavior", origin), origin),
                         find_bool(component, "invert", origin).value_or(false)});
    }
    if (type == "ByteLevel") {
      ByteLevel part{find_bool(component, "add_prefix_space", origin).value_or(true), std::nullopt};
      if (find_bool(component, "use_regex", origin).value_or(true)) part.regex.emplace(part.gpt2_expression, origin);
      return Value(std::move(part));
    }
    if (type == "Metaspace") return Value(Metaspace{MetaspaceSettings::from_json(component, origin)});
    if (type == "Digits") return Value(Digits{find_bool(component, "individual_digits", origin).value_or(false)});
    if (type == "Punctuation") {
      const auto name = find_string(component, "behavior", origin).value_or("Isolated");
      return Value(Punctuation{split_behavior(name, origin)});
    }
    if (type == "Sequence") {
      return Value(Sequence{detail::read_components<PreTokenizer>(component, "pretokenizers", origin, &from_json)});
    }
    detail::refuse_component(type, origin, "Split, ByteLevel, Metaspace, Digits, Punctuation, Sequence");
  }

  void operator()(Pieces& pieces) const {
    std::visit([&](const auto& part) { part(pieces); }, value_);
  }

 private:
  Value value_;
};

inline void pre_tokenizers::Sequence::operator()(Pieces& pieces) const {
  for (const auto& part : parts) part(pieces);
}

}  // namespace hone
