// Regular expressions as tokenizer files write them (Oniguruma's dialect), run by PCRE2: the only header that sees it.
#pragma once

#include <hone/core/error.hpp>
#include <hone/text/utf8.hpp>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace hone {

namespace detail {

/// Rewrites what the two dialects spell alike but read differently. PCRE2's \s has U+180E and lacks nothing else, so it
/// becomes the property White_Space. Nested and intersected character classes do not exist in PCRE2, which would take
/// them for plain characters: they are refused.
inline std::string to_pcre2(std::string_view pattern, std::string_view origin) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\') {
      ++i;
      if (next == 's' || next == 'S') {
        out += next == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      } else {
        out += c;
        if (next != '\0') out += next;
      }
      continue;
    }
    if (in_class) {
      check(c != '[' || next == ':', "[{}] nested character classes are not supported: {}", origin, pattern);
      check(c != '&' || next != '&', "[{}] intersections of character classes are not supported: {}", origin, pattern);
      if (c == '[') {  // [:name:] up to its own bracket
        const auto end = pattern.find(":]", i + 2);
        check(end != std::string_view::npos, "[{}] a [:class:] is not closed: {}", origin, pattern);
        out += pattern.substr(i, end + 2 - i);
        i = end + 1;
        continue;
      }
      if (c == ']') in_class = false;
    } else if (c == '[') {
      in_class = true;
      // A bracket that comes first in a class is a plain character.
      out += c;
      if (next == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') {
        out += "\\]";
        ++i;
      }
      continue;
    }
    out += c;
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
