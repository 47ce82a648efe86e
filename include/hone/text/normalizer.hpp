// Normalizers: what a tokenizer does to text before it is cut. Each takes valid UTF-8 and leaves valid UTF-8.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/text/component.hpp>
#include <hone/text/pattern.hpp>
#include <hone/text/unicode.hpp>
#include <hone/text/utf8.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

class Normalizer;

namespace normalizers {

struct Form {
  UnicodeForm form;
  void operator()(std::string& text) const { text = normalised(text, form); }
};

/// Puts `prefix` in front, except of no text at all.
struct Prepend {
  std::string prefix;
  void operator()(std::string& text) const {
    if (!text.empty()) text.insert(0, prefix);
  }
};

struct Replace {
  TextPattern pattern;
  std::string content;
  void operator()(std::string& text) const { text = pattern.replaced(text, content); }
};

struct Lowercase {
  void operator()(std::string& text) const {
    std::string out;
    out.reserve(text.size());
    for_each_code_point(text, [&](char32_t c, std::size_t, std::size_t) { append_lowercase(c, out); });
    text = std::move(out);
  }
};

/// Removes white space from the ends.
struct Strip {
  bool left;
  bool right;
  void operator()(std::string& text) const {
    std::size_t end = text.size();
    while (right && end > 0) {
      const auto last = utf8_last(std::string_view(text).substr(0, end));
      if (!is_space(utf8_code_point(std::string_view(text).substr(last)))) break;
      end = last;
    }
    text.resize(end);
    std::size_t begin = 0;
    while (left && begin < end && is_space(utf8_code_point(std::string_view(text).substr(begin)))) {
      begin += utf8_length(text[begin]);
    }
    text.erase(0, begin);
  }
};

struct Sequence {
  std::vector<Normalizer> parts;
  void operator()(std::string& text) const;
};

}  // namespace normalizers

/// Any normalizer of a tokenizer.json.
class Normalizer {
 public:
  using Value = std::variant<normalizers::Form, normalizers::Prepend, normalizers::Replace, normalizers::Lowercase,
                             normalizers::Strip, normalizers::Sequence>;

  Normalizer(Value value) : value_(std::move(value)) {}

  static Normalizer from_json(const nlohmann::json& component, const std::string& origin) {
    using namespace normalizers;
    const auto& type = detail::component_type(component, origin);
    if (type == "NFC") return Value(normalizers::Form{UnicodeForm::nfc});
    if (type == "NFD") return Value(normalizers::Form{UnicodeForm::nfd});
    if (type == "NFKC") return Value(normalizers::Form{UnicodeForm::nfkc});
    if (type == "NFKD") return Value(normalizers::Form{UnicodeForm::nfkd});
    if (type == "Prepend") return Value(Prepend{get_string(component, "prepend", origin)});
    if (type == "Replace") {
      return Value(Replace{TextPattern::from_json(component, origin), get_string(component, "content", origin)});
    }
    if (type == "Lowercase") return Value(Lowercase{});
    if (type == "Strip") {
      return Value(Strip{get_bool(component, "strip_left", origin), get_bool(component, "strip_right", origin)});
    }
    if (type == "Sequence") {
      return Value(Sequence{detail::read_components<Normalizer>(component, "normalizers", origin, &from_json)});
    }
    detail::refuse_component(type, origin, "NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase, Strip, Sequence");
  }

  /// Rewrites valid UTF-8 in place.
  void operator()(std::string& text) const {
    std::visit([&](const auto& part) { part(text); }, value_);
  }

 private:
  Value value_;
};

inline void normalizers::Sequence::operator()(std::string& text) const {
  for (const auto& part : parts) part(text);
}

}  // namespace hone
