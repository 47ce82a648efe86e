// tests/golden/optimizer_8bit.json, and the numbers it was made from.
#pragma once

#include <hone/io/json.hpp>
#include <hone/io/read_file.hpp>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace hone::test {

inline nlohmann::json optimizer_golden() { return read_json_file(HONE_SOURCE_DIR "/tests/golden/optimizer_8bit.json"); }

/// Hexadecimal digits as numbers of `digits` digits each.
inline std::vector<std::uint32_t> from_hex(const std::string& text, std::size_t digits) {
  std::vector<std::uint32_t> out;
  for (std::size_t i = 0; i + digits <= text.size(); i += digits) {
    std::uint32_t value = 0;
    std::from_chars(text.data() + i, text.data() + i + digits, value, 16);
    out.push_back(value);
  }
  return out;
}
inline std::vector<float> floats_of(const nlohmann::json& text) {
  std::vector<float> out;
  for (const std::uint32_t bits : from_hex(text.get<std::string>(), 8)) out.push_back(std::bit_cast<float>(bits));
  return out;
}

// The script's uniform() and spread().
inline std::vector<float> golden_uniform(std::int64_t count, std::int64_t seed) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto mixed = static_cast<std::uint64_t>(i * 40503 + seed * 12289) * 2654435761u % (std::uint64_t{1} << 32);
    out.push_back(static_cast<float>(mixed / 65536) / 32768.0f - 1.0f);
  }
  return out;
}
inline std::vector<float> golden_spread(std::int64_t count, std::int64_t seed) {
  auto out = golden_uniform(count, seed);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::ldexp(out[i], -static_cast<int>(i * 7 % 20));
  return out;
}

}  // namespace hone::test
