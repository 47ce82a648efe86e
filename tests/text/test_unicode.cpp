#include <hone/text/unicode.hpp>

#include <doctest/doctest.h>

#include <string>

namespace hone {

TEST_CASE("unicode: classes of characters") {
  for (const char32_t c : {U' ', U'\t', U'\n', U'\x0B', U'\r', U'\x85', U'\xA0', U'\u2028', U'\u3000'})
    CHECK(is_space(c));
  for (const char32_t c : {U'a', U'\0', U'\x08', U'\u200B', U'\u180E', U'\uFEFF'}) CHECK_FALSE(is_space(c));
  for (const char32_t c : {U'0', U'9', U'\u0660', U'\u00BD', U'\u2160', U'\u2460'}) CHECK(is_numeric(c));
  for (const char32_t c : {U'a', U'/', U':', U'\u4E00'}) CHECK_FALSE(is_numeric(c));
  for (const char32_t c : {U'!', U'$', U'~', U'`', U'_', U'\u00BF', U'\u3002', U'\u2014'}) CHECK(is_punctuation(c));
  for (const char32_t c : {U'a', U'0', U' ', U'\u00A2', U'\u20AC'}) CHECK_FALSE(is_punctuation(c));
  for (const char32_t c : {U'a', U'_', U'7', U'\u0301', U'\u4E2D', U'\u200D'}) CHECK(is_word(c));
  for (const char32_t c : {U' ', U'-', U'\u00BD', U'\u2014'}) CHECK_FALSE(is_word(c));
}

TEST_CASE("unicode: the four normalisation forms") {
  const std::string text = "e\u0301 \u00E9 \uFB01 \u212B \u1100\u1161";
  CHECK(normalised(text, UnicodeForm::nfc) == "\u00E9 \u00E9 \uFB01 \u00C5 \uAC00");
  CHECK(normalised(text, UnicodeForm::nfd) == "e\u0301 e\u0301 \uFB01 A\u030A \u1100\u1161");
  CHECK(normalised(text, UnicodeForm::nfkc) == "\u00E9 \u00E9 fi \u00C5 \uAC00");
  CHECK(normalised(text, UnicodeForm::nfkd) == "e\u0301 e\u0301 fi A\u030A \u1100\u1161");
}

TEST_CASE("unicode: ASCII beside other characters, and zero bytes, come through normalisation") {
  CHECK(normalised("plain", UnicodeForm::nfkc) == "plain");
  CHECK(normalised("", UnicodeForm::nfc) == "");
  // Two marks on one letter are put in canonical order; the letter before the run belongs to it.
  CHECK(normalised("xa\u0301\u0323y", UnicodeForm::nfc) == "x\u1EA1\u0301y");
  CHECK(normalised("\u0301a", UnicodeForm::nfc) == "\u0301a");
  CHECK(normalised(std::string("a\0\u00E9\0b", 6), UnicodeForm::nfc) == std::string("a\0\u00E9\0b", 6));
}

TEST_CASE("unicode: lower case of single characters") {
  const auto lower = [](char32_t c) {
    std::string out;
    append_lowercase(c, out);
    return out;
  };
  CHECK(lower(U'A') == "a");
  CHECK(lower(U'1') == "1");
  CHECK(lower(U'\u00C9') == "\u00E9");
  CHECK(lower(U'\u03A3') == "\u03C3");
  CHECK(lower(U'\u0130') == "i\u0307");
}

}  // namespace hone
