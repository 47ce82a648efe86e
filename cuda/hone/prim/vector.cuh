// Loads and stores of up to 16 bytes a thread: the widest access a thread has, and what memory-bound kernels live on.
#pragma once

#include <hone/device/language.cuh>

#include <cstdint>
#include <cstring>
#include <type_traits>

#if !defined(__CUDACC__)
#include <hone/emu/memory_access.hpp>
#endif

namespace hone {
inline namespace HONE_TARGET {

/// N consecutive elements, moved as one.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
  T values[N];

  __host__ __device__ T& operator[](int i) { return values[i]; }
  __host__ __device__ const T& operator[](int i) const { return values[i]; }
};

#if defined(__CUDACC__)

namespace kernel_detail {
/// The register type the compiler moves in one instruction; a struct of halves it may take apart.
template <int Bytes>
struct Word;
template <>
struct Word<1> {
  using type = unsigned char;
};
template <>
struct Word<2> {
  using type = unsigned short;
};
template <>
struct Word<4> {
  using type = unsigned int;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};
}  // namespace kernel_detail

/// Reads N elements at `from`, which is aligned to their joint size.
template <int N, class T>
__device__ Vec<std::remove_const_t<T>, N> load(T* from, Where = Where::here()) {
  using Word = typename kernel_detail::Word<static_cast<int>(sizeof(T)) * N>::type;
  Vec<std::remove_const_t<T>, N> out;
  const Word word = *reinterpret_cast<const Word*>(from);
  memcpy(static_cast<void*>(&out), &word, sizeof(word));
  return out;
}

template <class T, int N>
__device__ void store(T* to, const Vec<T, N>& value, Where = Where::here()) {
  using Word = typename kernel_detail::Word<static_cast<int>(sizeof(T)) * N>::type;
  Word word;
  memcpy(&word, &value, sizeof(word));
  // Left to itself the compiler at times takes 16 bytes apart into four stores. The test is answered at compile time.
  if constexpr (sizeof(Word) == 16) {
    if (__isGlobal(to)) {
      asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(word.x),
                   "r"(word.y), "r"(word.z), "r"(word.w)
                   : "memory");
      return;
    }
  }
  *reinterpret_cast<Word*>(to) = word;
}

#else

template <int N, class T>
Vec<std::remove_const_t<T>, N> load(T* from, Where where = Where::here()) {
  Vec<std::remove_const_t<T>, N> out;
  emulator::read(&out, from, sizeof(out), where);
  return out;
}

template <class T, int N>
void store(T* to, const Vec<T, N>& value, Where where = Where::here()) {
  emulator::write(to, &value, sizeof(value), where);
}

#endif

/// One element, so that scalar accesses are counted too.
template <class T>
__device__ std::remove_const_t<T> load(T* from, Where where = Where::here()) {
  return load<1>(from, where)[0];
}
template <class T>
__device__ void store(T* to, std::type_identity_t<T> value, Where where = Where::here()) {
  store(to, Vec<T, 1>{{value}}, where);
}

}  // namespace HONE_TARGET
}  // namespace hone
