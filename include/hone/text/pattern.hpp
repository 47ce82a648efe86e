// What Split and Replace look for: a plain string or a regular expression, under one way of walking the matches.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/text/regex.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace hone {

/// Walks the matches of a plain string, left to right, none overlapping.
class StringMatcher {
 public:
  explicit StringMatcher(std::string_view needle) : needle_(needle) {}

  template <class Body>
  void for_each(std::string_view subject, Body&& body) const {
    for (auto at = subject.find(needle_); at != std::string_view::npos; at = subject.find(needle_, at)) {
      body(at, at + needle_.size());
      at += needle_.size();
    }
  }

 private:
  std::string_view needle_;
};

/// {"String": text} or {"Regex": expression}.
class TextPattern {
 public:
  static TextPattern from_json(const nlohmann::json& component, std::string_view origin) {
    const auto& pattern = get_object(component, "pattern", origin);
    if (const auto text = find_string(pattern, "String", origin)) {
      check(!text->empty(), "[{}] \"pattern\" is an empty string, which matches everywhere", origin);
      return TextPattern(*text);
    }
    if (const auto expression = find_string(pattern, "Regex", origin)) return TextPattern(Regex(*expression, origin));
    fail("[{}] \"pattern\" needs \"String\" or \"Regex\"", origin);
  }

  explicit TextPattern(std::string text) : value_(std::move(text)) {}
  explicit TextPattern(Regex regex) : value_(std::move(regex)) {}

  /// Calls use(matcher), whose for_each(subject, body) walks the matches; make it once for many subjects.
  template <class Use>
  void with_matcher(Use&& use) const {
    if (const auto* text = std::get_if<std::string>(&value_)) {
      StringMatcher matcher(*text);
      use(matcher);
    } else {
      auto matcher = std::get<Regex>(value_).matcher();
      use(matcher);
    }
  }

  /// `subject` with every match replaced by `content`, taken literally.
  std::string replaced(std::string_view subject, std::string_view content) const {
    std::string out;
    out.reserve(subject.size());
    std::size_t done = 0;
    with_matcher([&](auto& matcher) {
      matcher.for_each(subject, [&](std::size_t begin, std::size_t end) {
        out.append(subject.substr(done, begin - done)).append(content);
        done = end;
      });
    });
    return out.append(subject.substr(done));
  }

 private:
  std::variant<std::string, Regex> value_;
};

}  // namespace hone
