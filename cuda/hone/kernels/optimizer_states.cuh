// How the optimizer's kernels read what they update and write it back: weights and gradients as they are, states in the
// type they are kept in.
#pragma once

#include <hone/kernels/optimizer_table.cuh>
#include <hone/prim/random.cuh>
#include <hone/prim/vector.cuh>
#include <hone/prim/warp.cuh>
#include <hone/quant/dynamic_map.hpp>
#include <hone/tensor/optimizer_scalars.hpp>

#include <cstdint>
#include <type_traits>

namespace hone {
inline namespace HONE_TARGET {

/// Elements of T in one access, where N lie side by side.
template <class T, int N>
inline constexpr int access_width = N < vector_width<T> ? N : vector_width<T>;

/// `count` of the N elements at `from`, the rest 0; `whole`: all N, and they are aligned.
template <int N, class T>
__device__ void read_elements(const T* from, int count, bool whole, T (&out)[N]) {
  constexpr int V = access_width<T, N>;
  HONE_UNROLL
  for (int i = 0; i < N; i += V) {
    Vec<T, V> part{};
    if (whole) part = load<V>(from + i);
    HONE_UNROLL
    for (int k = 0; k < V; ++k) {
      if (!whole && i + k < count) part[k] = load(from + i + k);
      out[i + k] = part[k];
    }
  }
}

template <int N, class T>
__device__ void write_elements(T* to, int count, bool whole, const T (&values)[N]) {
  constexpr int V = access_width<T, N>;
  HONE_UNROLL
  for (int i = 0; i < N; i += V) {
    Vec<T, V> part{};
    HONE_UNROLL
    for (int k = 0; k < V; ++k) part[k] = values[i + k];
    if (whole) store(to + i, part);
    HONE_UNROLL
    for (int k = 0; k < V; ++k)
      if (!whole && i + k < count) store(to + i + k, part[k]);
  }
}

/// The elements that a thread has in hand: at .. at + count - 1 of a parameter, of N at most.
struct Span {
  std::int64_t at;
  int count;
  bool whole;
  std::uint64_t seed, stream;  // of rounding the states
  std::int64_t drawn_at;       // the place of `at` in that stream
};

/// A state as tensors of M. A state of bf16 is rounded by chance: with betas near 1 a step changes it by less than
/// rounding to nearest would notice.
template <class S, class M>
struct DirectState {
  using View = hone::View<M, 1>;
  static constexpr int width = vector_width<M>;
  struct Shared {};
  static constexpr std::size_t shared_bytes = 0;
  M* data;  // null: none

  __device__ static const Shared* prepare(const DirectState (&)[2]) { return nullptr; }
  __device__ bool aligned() const { return aligned_for<width>(data); }
  template <int I, int N>
  __device__ void read(const Shared*, const Span& span, S (&out)[N]) const {
    M kept[N]{};
    if (data != nullptr) read_elements(data + span.at, span.count, span.whole, kept);
    HONE_UNROLL
    for (int i = 0; i < N; ++i) out[i] = widened<S>(kept[i]);
  }
  template <int I, int N>
  __device__ void write(const Shared*, const Span& span, const S (&values)[N]) const {
    if (data == nullptr) return;
    M kept[N];
    if constexpr (std::is_same_v<M, bf16>) {
      const ElementWords<N> words(span.seed, span.stream, span.drawn_at);
      HONE_UNROLL
      for (int i = 0; i < N; ++i) kept[i] = round_by_chance(values[i], words.words[i] << (16 * I));
    } else {
      HONE_UNROLL
      for (int i = 0; i < N; ++i) kept[i] = values[i];
    }
    write_elements(data + span.at, span.count, span.whole, kept);
  }
};

/// A state of 8 bits: a warp has a block of dynamic_block elements in hand, 8 a lane. The first state has a sign.
struct BlockwiseState {
  using View = BlockwiseView;
  static constexpr int width = static_cast<int>(dynamic_block) / warp_lanes;
  struct Shared {
    DynamicMap maps[2];
  };
  static constexpr std::size_t shared_bytes = sizeof(Shared);
  std::uint8_t* codes;
  float* absmax;
  const DynamicMap* map;

  __device__ static const Shared* prepare(const BlockwiseState (&states)[2]) {
    auto& shared = shared_memory<Shared>();
    constexpr int floats = sizeof(DynamicMap) / sizeof(float);
    for (int which = 0; which < 2; ++which) {
      const float* from = states[which].map->values;
      float* to = shared.maps[which].values;
      for (int i = thread_index(); i < floats; i += block_threads()) to[i] = load(from + i);
    }
    __syncthreads();
    return &shared;
  }
  __device__ bool aligned() const { return aligned_for<width>(codes); }
  template <int I, int N>
  __device__ void read(const Shared* shared, const Span& span, float (&out)[N]) const {
    std::uint8_t kept[N];
    read_elements(codes + span.at, span.count, span.whole, kept);
    const float scale = span.count > 0 ? load(absmax + span.at / dynamic_block) : 0.0f;
    HONE_UNROLL
    for (int i = 0; i < N; ++i) out[i] = shared->maps[I].values[kept[i]] * scale;
  }
  template <int I, int N>
  __device__ void write(const Shared* shared, const Span& span, const float (&values)[N]) const {
    float most = 0;
    HONE_UNROLL
    for (int i = 0; i < N; ++i) {
      const float magnitude = values[i] < 0 ? -values[i] : values[i];
      most = i < span.count && magnitude > most ? magnitude : most;
    }
    most = warp_max(most);
    const float scale = one_over_absmax(most);
    std::uint8_t kept[N];
    HONE_UNROLL
    for (int i = 0; i < N; ++i)
      kept[i] = static_cast<std::uint8_t>(nearest_dynamic_code<I == 0>(shared->maps[I].bounds, values[i] * scale));
    write_elements(codes + span.at, span.count, span.whole, kept);
    if (span.count > 0 && span.at % dynamic_block == 0) store(absmax + span.at / dynamic_block, most);
  }
};

}  // namespace HONE_TARGET
}  // namespace hone
