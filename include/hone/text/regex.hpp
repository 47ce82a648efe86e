// Regular expressions as tokenizer files write them (Oniguruma's dialect), run by PCRE2: the only header that sees it.
#pragma once

#include <hone/core/error.hpp>
#include <hone/text/utf8.hpp>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace hone {

namespace detail {

/// Oniguruma's word characters: letters, marks, digits, connectors. (PCRE2 10.42 lacks marks and has all numbers.)
inline constexpr std::string_view regex_word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
/// What it takes for word characters besides, but in classes: Latin-1's superscripts and fractions.
inline constexpr std::string_view regex_word_outside = R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";

/// Writes the escape \c as PCRE2 must see it to mean what Oniguruma means: \s is the property White_Space, \h a hex
/// digit.
inline void translate_escape(char c, bool in_class, std::string_view pattern, std::string_view origin,
                             std::string& out) {
  const auto members = [&](std::string_view set, bool negated) {
    if (!in_class) return void(out.append(negated ? "[^" : "[").append(set).append("]"));
    check(!negated, "[{}] \\{} inside a character class is not supported: {}", origin, c, pattern);
    out += set;
  };
  const auto boundary = [&](std::string_view inside, std::string_view outside) {
    out += fmt::format("(?:(?<=[{0}{1}])(?{2}[{0}{1}])|(?<![{0}{1}])(?{3}[{0}{1}]))", regex_word, regex_word_outside,
                       inside, outside);
  };
  if (c == 's' || c == 'S') {
    out += c == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
  } else if (c == 'w' || c == 'W') {
    members(in_class ? std::string(regex_word) : fmt::format("{}{}", regex_word, regex_word_outside), c == 'W');
  } else if (c == 'h' || c == 'H') {
    members("0-9A-Fa-f", c == 'H');
  } else if (c == 'b' && !in_class) {
    boundary("!", "=");
  } else if (c == 'B' && !in_class) {
    boundary("=", "!");
  } else {
    out += '\\';
    out += c;
  }
}

/// Writes \p{name} or \P{name}, given from the brace on, and returns its length. A script means just that; PCRE2 would
/// take characters that several scripts use for its own.
inline std::size_t translate_property(std::string_view braced, char c, std::string& out) {
  const auto end = std::min(braced.find('}'), braced.size());
  const bool negated = braced.starts_with("{^");
  const auto name = braced.substr(negated ? 2 : 1, end - (negated ? 2 : 1));
  const auto as_script = fmt::format("\\{}{{{}sc:{}}}", c, negated ? "^" : "", name);
  int error = 0;
  PCRE2_SIZE at = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> script(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(as_script.data()), as_script.size(), PCRE2_UTF | PCRE2_UCP, &error,
                    &at, nullptr),
      &pcre2_code_free);
  if (script != nullptr) {
    out += as_script;
  } else {
    out.append("\\").append(1, c).append(braced.substr(0, end + 1));
  }
  return std::min(end + 1, braced.size());
}

/// Writes what stands for [:name:] in a class, given from its first bracket on, and returns its length.
inline std::size_t translate_posix(std::string_view rest, std::string_view pattern, std::string_view origin,
                                   std::string& out) {
  struct Class {
    std::string_view name, members;
  };
  static constexpr Class classes[] = {{"[:alpha:]", R"(\p{Alphabetic})"}, {"[:alnum:]", R"(\p{Alphabetic}\p{Nd})"},
                                      {"[:digit:]", R"(\p{Nd})"},         {"[:space:]", R"(\p{White_Space})"},
                                      {"[:lower:]", R"(\p{Lowercase})"},  {"[:upper:]", R"(\p{Uppercase})"},
                                      {"[:word:]", regex_word},           {"[:xdigit:]", "0-9A-Fa-f"}};
  for (const auto& known : classes) {
    if (!rest.starts_with(known.name)) continue;
    out += known.members;
    return known.name.size();
  }
  fail(
      "[{}] \"{}\": nested character classes are not supported; of [:names:], alpha, alnum, digit, space, lower, "
      "upper, "
      "word and xdigit are",
      origin, pattern);
}

/// Rewrites what the two dialects spell alike but read differently. Nested and intersected character classes do not
/// exist in PCRE2, which would take them for plain characters: they are refused.
inline std::string to_pcre2(std::string_view pattern, std::string_view origin) {
  std::string out;
  bool in_class = false;
  const auto at = [&](std::size_t i) { return i < pattern.size() ? pattern[i] : '\0'; };
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && (at(i + 1) == 'p' || at(i + 1) == 'P') && at(i + 2) == '{') {
      i += 1 + translate_property(pattern.substr(i + 2), at(i + 1), out);
    } else if (c == '\\' && i + 1 < pattern.size()) {
      translate_escape(pattern[++i], in_class, pattern, origin, out);
    } else if (!in_class && c == '[') {
      in_class = true;
      out += c;
      if (at(i + 1) == '^') out += pattern[++i];
      if (at(i + 1) == ']') {  // a bracket that comes first in a class is a plain character
        out += "\\]";
        ++i;
      }
    } else if (in_class && c == '[') {
      i += translate_posix(pattern.substr(i), pattern, origin, out) - 1;
    } else {
      check(!in_class || c != '&' || at(i + 1) != '&', "[{}] intersections of character classes are not supported: {}",
            origin, pattern);
      in_class = in_class && c != ']';
      out += c;
    }
  }
  return out;
}

}  // namespace detail

/// A compiled expression; copies share it. Thread-safe: every search brings its own Matcher.
class Regex {
 public:
  /// Compiles `pattern` for UTF-8 with Unicode classes. An Error names `origin` and what PCRE2 says of it.
  Regex(std::string_view pattern, std::string_view origin) : pattern_(pattern) {
    const auto text = detail::to_pcre2(pattern, origin);
    int error = 0;
    PCRE2_SIZE at = 0;
    // ^ and $ hold at every line, as in Oniguruma's default syntax.
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &at, nullptr),
                &pcre2_code_free);
    check(code_ != nullptr, "[{}] the expression \"{}\" cannot be compiled: {} (at byte {})", origin, pattern,
          message(error), at);
    // Without a just-in-time compiler the interpreter runs: slower, the same matches.
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  }

  const std::string& pattern() const { return pattern_; }

  /// The working memory of searches; one per thread at a time.
  class Matcher {
   public:
    explicit Matcher(const Regex& regex)
        : regex_(&regex),
          data_(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free),
          limits_(pcre2_match_context_create(nullptr), &pcre2_match_context_free) {
      check(data_ != nullptr && limits_ != nullptr, "[regex] no memory for a match");
      constexpr std::uint32_t most_heap_kib = 1u << 18;
      pcre2_set_heap_limit(limits_.get(), most_heap_kib);
    }

    /// Finds the first match at or after `from` in valid UTF-8. An Error when the pattern backtracks without end.
    bool find(std::string_view subject, std::size_t from, std::size_t& begin, std::size_t& end) {
      int found = match(subject, from, 0);
      if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = match(subject, from, PCRE2_NO_JIT);
      if (found == PCRE2_ERROR_NOMATCH) return false;
      check(found >= 0, "[regex] \"{}\" gave up on a text of {} bytes: {}", regex_->pattern_, subject.size(),
            message(found));
      const auto* span = pcre2_get_ovector_pointer(data_.get());
      begin = span[0];
      end = span[1];
      return true;
    }

    /// Calls body(begin, end) for every match, left to right, none overlapping. An empty match right after another
    /// match does not count.
    template <class Body>
    void for_each(std::string_view subject, Body&& body) {
      std::size_t from = 0, begin = 0, end = 0;
      bool any = false;
      std::size_t last = 0;
      while (from <= subject.size() && find(subject, from, begin, end)) {
        check(begin <= end && begin >= from, "[regex] \"{}\" moved the start of its match back", regex_->pattern_);
        if (begin == end && any && last == end) {
          from += from < subject.size() ? utf8_length(subject[from]) : 1;
          continue;
        }
        body(begin, end);
        any = true;
        from = last = end;
      }
    }

   private:
    int match(std::string_view subject, std::size_t from, std::uint32_t options) {
      // Offset by an empty string: PCRE2 wants a pointer even for no text.
      const char* text = subject.empty() ? "" : subject.data();
      return pcre2_match(regex_->code_.get(), reinterpret_cast<PCRE2_SPTR>(text), subject.size(), from,
                         options | PCRE2_NO_UTF_CHECK, data_.get(), limits_.get());
    }

    const Regex* regex_;
    std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data_;
    std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits_;
  };

  Matcher matcher() const { return Matcher(*this); }

 private:
  static std::string message(int error) {
    PCRE2_UCHAR text[256];
    pcre2_get_error_message(error, text, sizeof text);
    return reinterpret_cast<const char*>(text);
  }

  std::string pattern_;
  std::shared_ptr<pcre2_code> code_;
};

}  // namespace hone
