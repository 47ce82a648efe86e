// Glob patterns over dotted names: `*` any run of characters, `?` one character, `{a,b}` either. Used to pick modules
// and parameters: "*.{q,v}_proj", "model.layers.0.*".
#pragma once

#include <hone/core/error.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace hone {
namespace detail {

inline bool glob_matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] == name[n] && pattern[p] != '*'))) {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// Writes out every choice of the first {...} and goes on with the rest.
inline void expand_braces(const std::string& pattern, std::vector<std::string>& out) {
  const std::size_t open = pattern.find('{');
  if (open == std::string::npos) {
    check(pattern.find('}') == std::string::npos, "[glob] '{}' has a closing brace without an opening one", pattern);
    out.push_back(pattern);
    return;
  }
  const std::size_t close = pattern.find('}', open);
  check(close != std::string::npos, "[glob] '{}' has an opening brace without a closing one", pattern);
  check(pattern.find('{', open + 1) > close, "[glob] '{}' nests braces, which is not supported", pattern);
  check(out.size() < 4096, "[glob] '{}' stands for too many names", pattern);
  std::size_t begin = open + 1;
  while (begin <= close) {
    const std::size_t end = std::min(pattern.find(',', begin), close);
    expand_braces(pattern.substr(0, open) + pattern.substr(begin, end - begin) + pattern.substr(close + 1), out);
    begin = end + 1;
  }
}

}  // namespace detail

/// A compiled pattern. Throws on unbalanced braces.
class Glob {
 public:
  explicit Glob(const std::string& pattern) { detail::expand_braces(pattern, patterns_); }
  bool matches(std::string_view name) const {
    for (const std::string& pattern : patterns_)
      if (detail::glob_matches(pattern, name)) return true;
    return false;
  }

 private:
  std::vector<std::string> patterns_;
};

}  // namespace hone
