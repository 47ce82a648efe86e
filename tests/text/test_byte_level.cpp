#include <hone/text/byte_level.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>

namespace hone {

TEST_CASE("byte level: 256 different characters, there and back") {
  const auto& alphabet = ByteAlphabet::get();
  std::string bytes, all;
  std::set<std::string> characters;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    bytes += one;
    std::string character;
    alphabet.encode(one, character);
    CHECK(utf8_length(character[0]) == character.size());
    characters.insert(character);
    all += character;
  }
  CHECK(characters.size() == 256);
  CHECK(alphabet.decode(all) == bytes);
}

TEST_CASE("byte level: the well-known ones, and what is not of the alphabet") {
  const auto& alphabet = ByteAlphabet::get();
  std::string out;
  alphabet.encode(" a\n\xC3\xA9\xAD", out);
  CHECK(out == "ĠaĊÃ©Ń");
  CHECK_FALSE(alphabet.decode("a b").has_value());
  CHECK_FALSE(alphabet.decode("中").has_value());
  CHECK(alphabet.decode("").value() == "");
}

}  // namespace hone
