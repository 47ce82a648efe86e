// Errors: one exception type, whose text opens with the op or the file and shows what was got and what was wanted.
#pragma once

#include <hone/core/config.hpp>

// g++ 12 at -O3 sees a write past the end in fmt 9's own parser, where there is none.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif
#include <fmt/format.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

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
  if (!ok) [[unlikely]]
    fail(text, std::forward<Args>(args)...);
}

}  // namespace hone
