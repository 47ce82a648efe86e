// The byte-level alphabet: every byte as one printable character, so that a vocabulary of strings can hold any bytes.
#pragma once

#include <hone/text/utf8.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hone {

/// GPT-2's bytes_to_unicode (Radford et al. 2019): printable Latin-1 stands for itself, the other 68 bytes, in order,
/// for U+0100, U+0101, ...
class ByteAlphabet {
 public:
  static const ByteAlphabet& get() {
    static const ByteAlphabet alphabet;
    return alphabet;
  }

  /// Appends one character per byte.
  void encode(std::string_view bytes, std::string& out) const {
    for (const char byte : bytes) out += characters_[static_cast<unsigned char>(byte)];
  }

  /// The bytes that the characters of a token stand for; nullopt when one of them is not of this alphabet.
  std::optional<std::string> decode(std::string_view token) const {
    std::string out;
    bool known = true;
    for_each_code_point(token, [&](char32_t c, std::size_t, std::size_t) {
      const int byte = c < bytes_.size() ? bytes_[c] : -1;
      known = known && byte >= 0;
      if (known) out.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
    });
    return known ? std::optional(out) : std::nullopt;
  }

 private:
  ByteAlphabet() {
    bytes_.fill(-1);
    char32_t shifted = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      const char32_t c = printable ? static_cast<char32_t>(byte) : shifted++;
      append_utf8(c, characters_[static_cast<std::size_t>(byte)]);
      bytes_[c] = static_cast<std::int16_t>(byte);
    }
  }

  std::array<std::string, 256> characters_;
  std::array<std::int16_t, 256 + 68> bytes_{};
};

}  // namespace hone
