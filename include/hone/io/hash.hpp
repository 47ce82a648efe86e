// Content hashes (XXH3, 64 bits): not secret, but enough to tell that two inputs are the same.
#pragma once

#include <hone/core/error.hpp>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <string_view>

namespace hone {

/// A hash over everything added, in order.
class Hash {
 public:
  Hash() : state_(XXH3_createState(), &XXH3_freeState) {
    if (state_ == nullptr) throw std::bad_alloc();
    XXH3_64bits_reset(state_.get());
  }
  Hash& add(const void* data, std::size_t bytes) {
    XXH3_64bits_update(state_.get(), data, bytes);
    return *this;
  }
  Hash& add(std::string_view text) { return add(text.data(), text.size()); }
  /// 16 hexadecimal digits.
  std::string hex() const {
    return fmt::format("{:016x}", static_cast<unsigned long long>(XXH3_64bits_digest(state_.get())));
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

}  // namespace hone
