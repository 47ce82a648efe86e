// Kernels as lambdas, and the text of what they throw.
#pragma once

#include <hone/emu/launch.hpp>

#include <string>

namespace hone::test {

/// Runs body() in every thread of the grid.
template <class F>
void emulate(const emulator::LaunchShape& shape, F&& body) {
  emulator::launch("test_kernel", shape,
                   {[](void* context) { (*static_cast<std::remove_reference_t<F>*>(context))(); }, &body});
}

/// The message of the Error that `action` throws; empty when it throws none.
template <class F>
std::string error_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// "test_block.cpp:12" as errors print it, for a line of the calling file.
inline std::string at_line(const char* file, int line) { return std::string(file) + ":" + std::to_string(line); }

}  // namespace hone::test
