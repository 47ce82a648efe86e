// UTF-8 by hand: stepping through text that is known to be valid, and repairing text that may not be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hone {

/// What a Unicode decoder writes in place of bytes that are no character.
inline constexpr std::string_view utf8_replacement = "\xEF\xBF\xBD";

enum class Utf8Status { valid, invalid, cut };

/// How many bytes belong together, and whether they are a character, a broken one, or one that the text's end cuts off.
struct Utf8Step {
  std::size_t length;
  Utf8Status status;
};

/// The first character of non-empty `bytes`. Well-formed sequences as in Unicode 15, table 3-7; of a broken one, the
/// longest prefix that could have begun a character is one step (the substitution practice of the same chapter).
inline Utf8Step utf8_step(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return {1, Utf8Status::valid};
  if (first < 0xC2 || first > 0xF4) return {1, Utf8Status::invalid};
  const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= bytes.size()) return {i, Utf8Status::cut};
    if (byte(i) < low || byte(i) > high) return {i, Utf8Status::invalid};
    low = 0x80;
    high = 0xBF;
  }
  return {length, Utf8Status::valid};
}

/// Bytes of the character that opens valid, non-empty UTF-8.
inline std::size_t utf8_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The code point of the character that opens valid, non-empty UTF-8.
inline char32_t utf8_code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  switch (utf8_length(text[0])) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3:
      return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
}

/// Where the last character of valid, non-empty UTF-8 begins.
inline std::size_t utf8_last(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

/// Calls body(code point, first byte, number of bytes) for every character of valid UTF-8.
template <class Body>
void for_each_code_point(std::string_view text, Body&& body) {
  for (std::size_t at = 0; at < text.size();) {
    const auto length = utf8_length(text[at]);
    body(utf8_code_point(text.substr(at)), at, length);
    at += length;
  }
}

inline void append_utf8(char32_t code_point, std::string& out) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
  } else {
    if (code_point < 0x10000) {
      put(0xE0 | code_point >> 12);
    } else {
      put(0xF0 | code_point >> 18);
      put(0x80 | (code_point >> 12 & 0x3F));
    }
    put(0x80 | (code_point >> 6 & 0x3F));
  }
  put(0x80 | (code_point & 0x3F));
}

inline bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto step = utf8_step(text);
    if (step.status != Utf8Status::valid) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

/// Bytes in, whole characters out, however the bytes are cut: a character is held until its last byte is there, and
/// every broken sequence becomes one U+FFFD.
class Utf8Stream {
 public:
  void push(std::string_view bytes, std::string& out) {
    if (held_.empty()) return consume(bytes, out);
    const auto joined = std::move(held_).append(bytes);
    held_.clear();
    consume(joined, out);
  }

  /// Ends the text: a character still incomplete becomes U+FFFD.
  void finish(std::string& out) {
    if (!held_.empty()) out += utf8_replacement;
    held_.clear();
  }

 private:
  void consume(std::string_view bytes, std::string& out) {
    while (!bytes.empty()) {
      const auto step = utf8_step(bytes);
      if (step.status == Utf8Status::cut) {
        held_ = bytes;
        return;
      }
      out += step.status == Utf8Status::valid ? bytes.substr(0, step.length) : utf8_replacement;
      bytes.remove_prefix(step.length);
    }
  }

  std::string held_;  // the first bytes of a character, at most 3
};

/// `text` with every broken sequence replaced by one U+FFFD.
inline std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Utf8Stream stream;
  stream.push(text, out);
  stream.finish(out);
  return out;
}

}  // namespace hone
