// Where: a place in a kernel's source, taken as a default argument so that an emulator error names the kernel's line.
#pragma once

#include <hone/core/error.hpp>

#include <cstring>
#include <string>

namespace hone::emulator {

/// File and line of the call that took it as `Where where = Where::here()`. (clang 14 has no std::source_location.)
struct Where {
  const char* file = "?";
  int line = 0;

  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }

  friend bool operator==(const Where& a, const Where& b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
  }
};

inline std::string to_string(const Where& where) { return fmt::format("{}:{}", where.file, where.line); }

}  // namespace hone::emulator
