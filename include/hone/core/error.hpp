// Errors: one exception type, whose text opens with the op or the file and shows what was got and what was wanted.
#pragma once

#include <hone/core/config.hpp>

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace hone {

/// Every error hone reports. The message is a sentence for the person who runs the program.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Memory cannot be had, or a budget would be passed; the message carries the ledger.
struct OutOfMemory : Error {
  using Error::Error;
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format(text, std::forward<Args>(args)...));
}

/// Throws Error with the formatted text unless `ok`. The text is formatted only on failure.
template <class... Args>
void check(bool ok, fmt::format_string<Args...> text, Args&&... args) {
  if (!ok) [[unlikely]] fail(text, std::forward<Args>(args)...);
}

}  // namespace hone
