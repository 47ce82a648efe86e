// What Unicode says of characters, asked through utf8proc: classes, lower case, normalisation forms.
#pragma once

#include <hone/core/error.hpp>
#include <hone/text/utf8.hpp>

#include <utf8proc.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace hone {

namespace detail {
inline utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
}  // namespace detail

/// The property White_Space: separators and the controls that act as such.
inline bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  const auto category = detail::category(c);
  return c == 0x85 || (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

/// Categories Nd, Nl and No.
inline bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto category = detail::category(c);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

/// Any of the categories P*, and the ASCII symbols ($+<=>^`|~), which most tokenizers count in.
inline bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  }
  const auto category = detail::category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

/// A word character, as \w is in UTS 18: letters, marks, decimal and letter numbers, connectors, joiners.
inline bool is_word(char32_t c) {
  const auto category = detail::category(c);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
         c == 0x200C || c == 0x200D;
}

/// Appends the lower case of one character, regardless of its neighbours (no final sigma).
inline void append_lowercase(char32_t c, std::string& out) {
  // The one character whose lower case is two: I with dot above.
  if (c == 0x130) {
    out += "i\xCC\x87";
    return;
  }
  append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

namespace detail {

inline void append_normalised_run(std::string_view run, UnicodeForm form, std::string& out) {
  const bool composed = form == UnicodeForm::nfc || form == UnicodeForm::nfkc;
  const bool compatible = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatible ? UTF8PROC_COMPAT : 0));
  utf8proc_uint8_t* bytes = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(run.data()),
                                   static_cast<utf8proc_ssize_t>(run.size()), &bytes, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(bytes, &std::free);
  check(length >= 0, "[tokenizer] Unicode normalisation of {} bytes failed: {}", run.size(), utf8proc_errmsg(length));
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
}

}  // namespace detail

/// Valid UTF-8 in a normalisation form (UAX 15). ASCII is its own form and never composes with what stands before it,
/// so only runs of other characters, each with the ASCII character it may compose with, go through the tables.
inline std::string normalised(std::string_view text, UnicodeForm form) {
  const auto is_ascii = [&](std::size_t i) { return static_cast<unsigned char>(text[i]) < 0x80; };
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    auto run = at;
    while (run < text.size() && is_ascii(run)) ++run;
    if (run == text.size()) return out.append(text.substr(at));
    auto end = run;
    while (end < text.size() && !is_ascii(end)) ++end;
    if (run > at) --run;
    out.append(text.substr(at, run - at));
    detail::append_normalised_run(text.substr(run, end - run), form, out);
    at = end;
  }
  return out;
}

}  // namespace hone
