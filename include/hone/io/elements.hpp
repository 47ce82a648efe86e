// Elements of one floating type from and to another: what loading an fp16 checkpoint into fp32 weights does.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/error.hpp>
#include <hone/io/byte_reader.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace hone {

/// One element as another floating type, rounded to nearest even. double to a 16-bit type rounds through float.
template <class To, class From>
To convert_element(From value) {
  static_assert(is_floating<To> && is_floating<From>);
  if constexpr (std::is_same_v<To, From>)
    return value;
  else if constexpr (std::is_same_v<To, double>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<To>(static_cast<float>(value));
}

/// Calls `body(From{})` with the C++ type of a floating `dtype`; other types are an Error that opens with `what`.
template <class Body>
void with_floating_type(DType dtype, std::string_view what, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::f64:
      return body(double{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(fp16{});
    default:
      fail("{} has element type {}; float32, float64, bfloat16 or float16 was expected", what, name_of(dtype));
  }
}

/// Reads `count` elements of `from` out of bytes that hold exactly that many into `out`, converting between floating
/// types; integers are read only as what they are. Errors open with `what`, which names file and tensor.
template <class T>
void convert_elements(std::span<const std::byte> bytes, DType from, T* out, std::int64_t count, std::string_view what) {
  if (from == dtype_of<T>) return copy_elements(bytes, out, count, what);
  if constexpr (is_floating<T>) {
    with_floating_type(from, what, [&]<class From>(From) {
      const auto wanted = checked_mul(count, std::int64_t{sizeof(From)}, what);
      check(std::cmp_equal(bytes.size(), wanted), "{}: {} bytes where {} were expected", what, bytes.size(), wanted);
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        out[i] = convert_element<T>(element_at<From>(bytes, i));
    });
  } else {
    fail("{} has element type {}; {} was expected", what, name_of(from), name_of(dtype_of<T>));
  }
}

}  // namespace hone
