// Text from users: UTF-8 or an Error that says where not, without byte order mark, lines ended by LF or CRLF.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/read_file.hpp>
#include <hone/io/utf8.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// Throws an Error naming file, line and byte column (both from 1) unless all of `text` is UTF-8.
inline void check_utf8(std::string_view text, std::string_view origin) {
  const auto bad = valid_utf8_prefix(text);
  if (bad == text.size()) return;
  const auto before = text.substr(0, bad);
  const auto line = std::ranges::count(before, '\n') + 1;
  const auto line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  fail("[{}] line {}, byte {}: not UTF-8 (byte 0x{:02x}); save the file as UTF-8", origin, line, bad - line_start + 1,
       static_cast<unsigned>(static_cast<unsigned char>(text[bad])));
}

/// `text` without a UTF-8 byte order mark at its start.
inline std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view mark = "\xef\xbb\xbf";
  if (text.starts_with(mark)) text.remove_prefix(mark.size());
  return text;
}

/// The lines of `text` without their ends: LF or CRLF. A final line without an end counts; a CR elsewhere stays.
inline std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    if (end < text.size() && line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// A whole text file: validated, without byte order mark, line ends as they stand in the file.
inline std::string read_text(const std::filesystem::path& path) {
  auto text = read_file(path);
  check_utf8(text, path.string());
  text.erase(0, text.size() - without_byte_order_mark(text).size());
  return text;
}

/// A whole text file with every CRLF as LF.
inline std::string read_text_unix(const std::filesystem::path& path) {
  const auto text = read_text(path);
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at)
    if (text[at] != '\r' || at + 1 == text.size() || text[at + 1] != '\n') out += text[at];
  return out;
}

/// The lines of a text file; line i of the file is element i - 1.
inline std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const auto text = read_text(path);
  const auto lines = split_lines(text);
  return {lines.begin(), lines.end()};
}

}  // namespace hone
