// The one place where bytes of a file become numbers. Everything read here is checked against the span that holds it;
// no other header of io/ casts pointers or copies raw memory.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/error.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace hone {

static_assert(std::endian::native == std::endian::little, "every format hone reads is little-endian, and so is hone");

/// Bytes as text, without a copy.
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Text as bytes, without a copy.
inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// Element `index` of an array of T that starts at the first byte; the array need not be aligned. The caller has
/// checked index * sizeof(T) + sizeof(T) <= bytes.size(), as copy_elements does for a whole tensor.
template <class T>
T element_at(std::span<const std::byte> bytes, std::size_t index) {
  static_assert(std::is_trivially_copyable_v<T>);
  T out;
  std::memcpy(&out, bytes.data() + index * sizeof(T), sizeof(T));
  return out;
}

/// Copies `count` elements of T out of bytes that hold exactly that many; an Error names `what` otherwise.
template <class T>
void copy_elements(std::span<const std::byte> bytes, T* out, std::int64_t count, std::string_view what) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto wanted = checked_mul(count, std::int64_t{sizeof(T)}, what);
  check(std::cmp_equal(bytes.size(), wanted), "{}: {} bytes where {} were expected", what, bytes.size(), wanted);
  if (count > 0) std::memcpy(out, bytes.data(), bytes.size());
}

/// Walks a span front to back. Every read checks what is left first, and its Error names origin, byte and field.
class ByteReader {
 public:
  /// `origin` names the file in errors; `base` is the position of the span's first byte in that file.
  ByteReader(std::span<const std::byte> bytes, std::string origin, std::int64_t base = 0)
      : bytes_(bytes), origin_(std::move(origin)), base_(base) {}

  std::size_t remaining() const { return bytes_.size() - at_; }
  /// Position in the file of the next byte.
  std::int64_t position() const { return base_ + static_cast<std::int64_t>(at_); }
  const std::string& origin() const { return origin_; }

  /// The next number, little-endian, unaligned. `field` says in errors what was being read.
  template <class T>
  T read(std::string_view field) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    return element_at<T>(take(sizeof(T), field), 0);
  }

  /// The next `count` bytes. `count` may come straight from the file.
  std::span<const std::byte> take(std::uint64_t count, std::string_view field) {
    check(count <= remaining(), "[{}] byte {}: {} needs {} bytes, {} are left", origin_, position(), field, count,
          remaining());
    const auto out = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += out.size();
    return out;
  }

  /// The next `count` bytes as text; whether they are UTF-8 is the caller's question (io/text_file.hpp).
  std::string_view text(std::uint64_t count, std::string_view field) { return as_text(take(count, field)); }

  /// Skips to the next position that is a multiple of `alignment` (a power of two) in the file.
  void align(std::uint64_t alignment, std::string_view field) {
    check(std::has_single_bit(alignment), "[{}] byte {}: {}: alignment {} is not a power of two", origin_, position(),
          field, alignment);
    const auto past = static_cast<std::uint64_t>(position()) & (alignment - 1);
    if (past != 0) take(alignment - past, field);
  }

 private:
  std::span<const std::byte> bytes_;
  std::string origin_;
  std::int64_t base_;
  std::size_t at_ = 0;
};

}  // namespace hone
