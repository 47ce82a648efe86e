// One loop written once, compiled for every instruction set, and called through a table at run time.
//
//   template <class T>
//   struct ScaleRows {                                                       // a body: one static function, `run`
//     HONE_ALWAYS_INLINE static void run(View<const T, 2> x, float factor, View<T, 2> y, std::int64_t row) {
//       for (std::int64_t i = 0; i < x.extent(1); ++i) y.row(row)[i] = round_to<T>(widen(x.row(row)[i]) * factor);
//     }
//   };
//   const auto scale = isa_path<ScaleRows<T>, View<const T, 2>, float, View<T, 2>, std::int64_t>(device.target().isa);
//   device.pool().run(x.rows(), [&](std::int64_t row, int) { scale(x, 2.0f, y, row); });
// or, for a single call, dispatch<ScaleRows<T>>(isa, x, 2.0f, y, row).
//
// Rules that keep this fast and safe when files compiled with different -march meet in one program:
//  1. `run`, and everything it calls in its loops, is HONE_ALWAYS_INLINE and has no target attribute: then no copy
//     lies in the object file on its own, compiled for whatever that file's -march was, for the linker to pick.
//  2. What has external linkage are the three functions below. Each carries its instruction set in its name and
//     attribute, so that any copy runs wherever that path may run. Whether a * b + c becomes one fma is still the
//     compiler's choice, and g++ lets -mtune have a say on the AVX paths (clang: -march on the portable one): files
//     of one program that differ in -march give equal bits for certain only with -ffp-contract=off.
//  3. No lambda inside `run` (it does not inherit the target), no libm call in a loop (see cpu/vector_math.hpp), no
//     vector type as a parameter of a function that is not HONE_ALWAYS_INLINE.
//  4. No __AVX*__ macro anywhere.
// The pool is outside, the path inside: a task calls the path once for a block of rows, not once an element.
#pragma once

#include <hone/core/config.hpp>
#include <hone/core/isa.hpp>

namespace hone {
namespace detail {

template <class Body, class... Args>
HONE_TARGET_PORTABLE void run_portable(Args... args) {
  Body::run(args...);
}

#if HONE_X86
template <class Body, class... Args>
HONE_TARGET_AVX2 void run_avx2(Args... args) {
  Body::run(args...);
}

template <class Body, class... Args>
HONE_TARGET_AVX512 void run_avx512(Args... args) {
  Body::run(args...);
}
#endif

}  // namespace detail

/// `Body::run` compiled for `isa`, as a function pointer. Args are taken by value: views, numbers, pointers, so that
/// the compiler sees that stores through one do not change another.
template <class Body, class... Args>
constexpr auto isa_path([[maybe_unused]] Isa isa) -> void (*)(Args...) {
#if HONE_X86
  if (isa == Isa::avx512) return &detail::run_avx512<Body, Args...>;
  if (isa == Isa::avx2) return &detail::run_avx2<Body, Args...>;
#endif
  return &detail::run_portable<Body, Args...>;
}

/// Calls `Body::run(args...)` compiled for `isa`.
template <class Body, class... Args>
void dispatch(Isa isa, Args... args) {
  isa_path<Body, Args...>(isa)(args...);
}

}  // namespace hone
