// Regular expressions over module names, in the syntax of Python's re, because PEFT's configurations hold such.
// The engine links nothing, <regex> costs every file that includes it over a second, and both it and a backtracking
// library can be made to run forever by a pattern from a file. Names are short and only the question "does the whole
// name match" is asked, so a set of positions is carried through the pattern (Thompson, 1968): no backtracking, at most
// pattern x name^2 steps.
#pragma once

#include <hone/core/error.hpp>

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// A compiled pattern: literals, `.`, classes, \d \w \s \b, groups, alternatives, * + ? {m,n} (lazy ones too: which
/// match is found first changes nothing here), ^ $ and look-ahead. Back references, look-behind, flags and possessive
/// quantifiers are refused with an Error.
class NamePattern {
 public:
  explicit NamePattern(std::string_view pattern) : text_(pattern) {
    check(text_.size() <= 65536, "[pattern] a regular expression of {} characters", text_.size());
    root_ = alternatives(0);
    check(at_ == text_.size(), "[pattern] '{}' closes a group at character {} that it did not open", text_, at_);
  }

  /// Whether the whole of `name` matches, as re.fullmatch asks.
  bool matches(std::string_view name) const {
    Positions start(name.size() + 1, false);
    start[0] = true;
    return run(root_, name, start).back();
  }

 private:
  using Positions = std::vector<bool>;
  enum class Kind { alternatives, sequence, repeat, characters, start, end, boundary, look_ahead };
  struct Node {
    Kind kind = Kind::sequence;
    std::vector<Node> children = {};
    std::bitset<256> characters = {};
    std::size_t least = 0, most = 0;
    bool negative = false;
  };
  static constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

  // --- reading ---

  [[noreturn]] void refuse(std::string_view what) const {
    fail("[pattern] '{}': {} at character {}", text_, what, at_);
  }
  bool more() const { return at_ < text_.size(); }
  char peek() const { return text_[at_]; }
  bool take(std::string_view token) {
    if (!std::string_view(text_).substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  Node alternatives(std::size_t depth) {
    if (depth > 64) refuse("groups nest deeper than 64");
    Node out{.kind = Kind::alternatives};
    do out.children.push_back(sequence(depth));
    while (take("|"));
    return out;
  }
  Node sequence(std::size_t depth) {
    Node out{.kind = Kind::sequence};
    while (more() && peek() != '|' && peek() != ')') out.children.push_back(quantified(atom(depth)));
    return out;
  }
  Node quantified(Node node) {
    std::size_t least = 0, most = 0;
    if (take("*"))
      least = 0, most = unbounded;
    else if (take("+"))
      least = 1, most = unbounded;
    else if (take("?"))
      least = 0, most = 1;
    else if (!counts(least, most))
      return node;
    if (node.kind == Kind::start || node.kind == Kind::end) refuse("nothing to repeat");
    if (take("+")) refuse("possessive quantifiers are not supported");
    take("?");
    std::size_t ignored_least = 0, ignored_most = 0;
    if (more() && (peek() == '*' || peek() == '+' || peek() == '?' || counts(ignored_least, ignored_most)))
      refuse("a quantifier behind a quantifier");
    Node out{.kind = Kind::repeat, .least = least, .most = most};
    out.children.push_back(std::move(node));
    return out;
  }
  /// {m}, {m,}, {,n} or {m,n}; any other brace is itself, as in Python.
  bool counts(std::size_t& least, std::size_t& most) {
    const std::size_t before = at_;
    const auto number = [&](std::size_t otherwise) {
      std::size_t value = 0, digits = 0;
      for (; more() && peek() >= '0' && peek() <= '9'; ++at_, ++digits) {
        value = value * 10 + static_cast<std::size_t>(peek() - '0');
        if (value > 1000) refuse("a count above 1000");
      }
      return digits == 0 ? otherwise : value;
    };
    if (!take("{")) return false;
    const std::size_t digits_from = at_;
    least = number(0);
    most = least;
    bool any = at_ != digits_from;
    if (take(",")) {
      any = true;
      most = number(unbounded);
    }
    if (!any || !take("}")) {
      at_ = before;
      return false;
    }
    if (most < least) refuse("a count whose end lies before its beginning");
    return true;
  }
  Node atom(std::size_t depth) {
    if (take("(")) return group(depth);
    if (take("[")) return character_class();
    if (take("\\")) return escape();
    if (take("^")) return {.kind = Kind::start};
    if (take("$")) return {.kind = Kind::end};
    Node out{.kind = Kind::characters};
    if (take(".")) {
      out.characters.set();
      out.characters.reset('\n');
      return out;
    }
    if (peek() == '*' || peek() == '+' || peek() == '?') refuse("nothing to repeat");
    out.characters.set(static_cast<unsigned char>(text_[at_++]));
    return out;
  }
  Node group(std::size_t depth) {
    bool look = false, negative = false;
    if (take("?:")) {
    } else if (take("?=") || (negative = take("?!"))) {
      look = true;
    } else if (take("?P<")) {
      const std::size_t close = text_.find('>', at_);
      if (close == std::string::npos) refuse("a group's name does not end");
      at_ = close + 1;
    } else if (more() && peek() == '?') {
      refuse("look-behind, flags and conditions are not supported");
    }
    Node inner = alternatives(depth + 1);
    if (!take(")")) refuse("a group is not closed");
    if (!look) return inner;
    Node out{.kind = Kind::look_ahead, .negative = negative};
    out.children.push_back(std::move(inner));
    return out;
  }

  static std::bitset<256> range(char first, char last) {
    std::bitset<256> out;
    for (int c = static_cast<unsigned char>(first); c <= static_cast<unsigned char>(last); ++c)
      out.set(static_cast<std::size_t>(c));
    return out;
  }
  static std::bitset<256> word() {
    auto out = range('a', 'z') | range('A', 'Z') | range('0', '9');
    out.set('_');
    return out;
  }
  /// What \c stands for inside a class or outside.
  std::bitset<256> escaped(char c) const {
    std::bitset<256> space;
    for (const char one : {' ', '\t', '\n', '\r', '\f', '\v'}) space.set(static_cast<unsigned char>(one));
    switch (c) {
      case 'd':
        return range('0', '9');
      case 'D':
        return ~range('0', '9');
      case 'w':
        return word();
      case 'W':
        return ~word();
      case 's':
        return space;
      case 'S':
        return ~space;
      default:
        break;
    }
    if (word()[static_cast<unsigned char>(c)] && c != '_')
      refuse("an escaped letter or digit that is not one of \\d \\w \\s \\b");
    return range(c, c);
  }
  Node escape() {
    if (!more()) refuse("a backslash ends the pattern");
    const char c = text_[at_++];
    if (c == 'b' || c == 'B') return {.kind = Kind::boundary, .negative = c == 'B'};
    if (c == 'Z') return {.kind = Kind::end};
    if (c == 'A') return {.kind = Kind::start};
    return {.kind = Kind::characters, .characters = escaped(c)};
  }
  Node character_class() {
    Node out{.kind = Kind::characters};
    const bool negative = take("^");
    for (bool first = true; first || !take("]"); first = false) {
      if (!more()) refuse("a class is not closed");
      const char c = text_[at_++];
      if (c == '\\') {
        if (!more()) refuse("a class is not closed");
        out.characters |= escaped(text_[at_++]);
      } else if (at_ + 1 < text_.size() && peek() == '-' && text_[at_ + 1] != ']') {
        const char last = text_[at_ + 1];
        if (last == '\\' || static_cast<unsigned char>(last) < static_cast<unsigned char>(c)) refuse("a bad range");
        at_ += 2;
        out.characters |= range(c, last);
      } else {
        out.characters |= range(c, c);
      }
    }
    if (negative) out.characters.flip();
    return out;
  }

  // --- matching: from the positions a part may begin at to those it may end at ---

  static bool any(const Positions& positions) {
    return std::find(positions.begin(), positions.end(), true) != positions.end();
  }

  static Positions run(const Node& node, std::string_view name, const Positions& from) {
    switch (node.kind) {
      case Kind::sequence: {
        Positions out = from;
        for (const Node& child : node.children) out = run(child, name, out);
        return out;
      }
      case Kind::alternatives: {
        Positions out(from.size(), false);
        for (const Node& child : node.children) add(out, run(child, name, from));
        return out;
      }
      case Kind::repeat:
        return repeated(node, name, from);
      default:
        return one(node, name, from);
    }
  }
  /// Adds `more` to `out`; returns what was not in it.
  static Positions add(Positions& out, const Positions& more) {
    Positions fresh(out.size(), false);
    for (std::size_t i = 0; i < out.size(); ++i) {
      fresh[i] = more[i] && !out[i];
      out[i] = out[i] || more[i];
    }
    return fresh;
  }
  static Positions repeated(const Node& node, std::string_view name, const Positions& from) {
    Positions reached = from;
    for (std::size_t i = 0; i < node.least && any(reached); ++i) reached = run(node.children[0], name, reached);
    Positions out = reached;
    for (std::size_t i = node.least; i < node.most && any(reached); ++i)
      reached = add(out, run(node.children[0], name, reached));
    return out;
  }
  static Positions one(const Node& node, std::string_view name, const Positions& from) {
    Positions out(from.size(), false);
    const auto is_word = [&](std::size_t i) { return i < name.size() && word()[static_cast<unsigned char>(name[i])]; };
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (!from[i]) continue;
      if (node.kind == Kind::characters) {
        if (i < name.size() && node.characters[static_cast<unsigned char>(name[i])]) out[i + 1] = true;
      } else if (node.kind == Kind::look_ahead) {
        Positions here(from.size(), false);
        here[i] = true;
        out[i] = any(run(node.children[0], name, here)) != node.negative;
      } else if (node.kind == Kind::boundary) {
        out[i] = (is_word(i) != (i > 0 && is_word(i - 1))) != node.negative;
      } else {
        out[i] = i == (node.kind == Kind::start ? 0 : name.size());
      }
    }
    return out;
  }

  std::string text_;
  std::size_t at_ = 0;
  Node root_;
};

}  // namespace hone
