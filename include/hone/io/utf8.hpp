// UTF-8: the check every text passes once, and a safe way to show names from files in messages.
#pragma once

#include <hone/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hone {

namespace detail {

/// Length of the well-formed sequence that starts at `at` (The Unicode Standard, table 3-7), or 0.
inline std::size_t utf8_sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    // E0 would allow longer spellings of two-byte code points, ED the surrogates.
    return tail(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) && tail(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    return tail(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace detail

/// Position of the first byte that is not UTF-8, or text.size() when all of it is.
inline std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto length = detail::utf8_sequence(text, at);
    if (length == 0) return at;
    at += length;
  }
  return at;
}

/// A name from a file as it may stand in a message: one line, at most 120 bytes or so, nothing a terminal obeys.
inline std::string printable(std::string_view name) {
  constexpr std::size_t longest = 120;
  std::string out;
  for (std::size_t at = 0; at < name.size();) {
    if (out.size() >= longest) return out + "...";
    const auto length = detail::utf8_sequence(name, at);
    const auto byte = static_cast<unsigned char>(name[at]);
    const bool shown = length > 0 && byte >= 0x20 && byte != 0x7f;
    if (shown)
      out += name.substr(at, length);
    else
      out += fmt::format("\\x{:02x}", byte);
    at += shown ? length : 1;
  }
  return out;
}

}  // namespace hone
