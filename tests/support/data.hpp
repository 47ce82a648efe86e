// Finds the real data that tests may use but the project does not carry, and says by name what was skipped without it.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

namespace hone::test {

/// The folder of shared data: $HONE_SHARED_DATA, or ../shared/data beside the source tree; nullopt when there is none.
inline std::optional<std::filesystem::path> shared_data() {
  std::filesystem::path folder;
  if (const char* given = std::getenv("HONE_SHARED_DATA"); given != nullptr && *given != '\0') folder = given;
#ifdef HONE_SOURCE_DIR
  else
    folder = std::filesystem::path(HONE_SOURCE_DIR) / ".." / "shared" / "data";
#else
  else
    folder = std::filesystem::path("..") / "shared" / "data";
#endif
  std::error_code missing;
  return std::filesystem::is_directory(folder, missing) ? std::optional(folder) : std::nullopt;
}

/// Prints the line that the test script counts as a skipped test.
inline void skip(const std::string& name, const std::string& why) {
  std::printf("SKIP %s: %s\n", name.c_str(), why.c_str());
}

}  // namespace hone::test
