// Element types by name: the run-time enumeration and its mapping to C++ types.
#pragma once

#include <hone/core/error.hpp>
#include <hone/core/half.hpp>

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace hone {

enum class DType : std::uint8_t { f32, f64, bf16, f16, i8, i16, i32, i64, u8, boolean };

template <class T>
inline constexpr bool is_floating = std::is_floating_point_v<T> || std::is_same_v<T, bf16> || std::is_same_v<T, fp16>;

/// The type sums are formed in: double for double, float for every narrower floating type, int64 for integers.
template <class T>
using Accumulator =
    std::conditional_t<std::is_same_v<T, double>, double, std::conditional_t<is_floating<T>, float, std::int64_t>>;

template <class T>
inline constexpr DType dtype_of = [] {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<U, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<U, bf16>)
    return DType::bf16;
  else if constexpr (std::is_same_v<U, fp16>)
    return DType::f16;
  else if constexpr (std::is_same_v<U, std::int8_t>)
    return DType::i8;
  else if constexpr (std::is_same_v<U, std::int16_t>)
    return DType::i16;
  else if constexpr (std::is_same_v<U, std::int32_t>)
    return DType::i32;
  else if constexpr (std::is_same_v<U, std::int64_t>)
    return DType::i64;
  else if constexpr (std::is_same_v<U, std::uint8_t>)
    return DType::u8;
  else if constexpr (std::is_same_v<U, bool>)
    return DType::boolean;
  else
    static_assert(sizeof(U) == 0, "hone has no tensor element of this type; see core/dtype.hpp");
}();

constexpr std::int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
    case DType::i16:
      return 2;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

/// The name Hugging Face's config.json uses ("float32", "bfloat16", ...).
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::f64:
      return "float64";
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
    case DType::i8:
      return "int8";
    case DType::i16:
      return "int16";
    case DType::i32:
      return "int32";
    case DType::i64:
      return "int64";
    case DType::u8:
      return "uint8";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

}  // namespace hone
