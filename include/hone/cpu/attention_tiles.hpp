// The loops over one tile of scores, compiled for every instruction set, and the table of the ones a pass uses.
#pragma once

#include <hone/cpu/tile.hpp>

#include <limits>

namespace hone::cpu {

/// Online softmax of one tile of scores (keys, rows), down the keys, all rows at once (Milakov and Gimelshein, 2018):
///   m' = max(m, max_k s_k);  c = exp(m - m');  p_k = exp(s_k - m');  l' = c l + sum_k p_k
/// A row that has seen nothing yet has m = -inf; exponents are then taken against 0, which gives p = 0 and no NaN.
template <class S>
struct OnlineSoftmax {
  HONE_ALWAYS_INLINE static void run(S* HONE_RESTRICT scores, std::int64_t stride, std::int64_t keys, std::int64_t rows,
                                     S* HONE_RESTRICT most, S* HONE_RESTRICT total, S* HONE_RESTRICT correction) {
    for (std::int64_t at = 0; at < rows; at += lane_count) {
      Lanes<S> now(S{0}), sum(S{0});
      for (int l = 0; l < lane_count; ++l) now.lane[l] = most[at + l];
      for (std::int64_t key = 0; key < keys; ++key)
        for (int l = 0; l < lane_count; ++l) now.lane[l] = larger(now.lane[l], scores[key * stride + at + l]);
      for (int l = 0; l < lane_count; ++l) {
        const S base = now.lane[l] > -std::numeric_limits<S>::max() ? now.lane[l] : S{0};
        correction[at + l] = vector_exp(most[at + l] - base);
        most[at + l] = now.lane[l];
        now.lane[l] = base;
      }
      for (std::int64_t key = 0; key < keys; ++key)
        for (int l = 0; l < lane_count; ++l) {
          const S p = vector_exp(scores[key * stride + at + l] - now.lane[l]);
          scores[key * stride + at + l] = p;
          sum.lane[l] += p;
        }
      for (int l = 0; l < lane_count; ++l) total[at + l] = total[at + l] * correction[at + l] + sum.lane[l];
    }
  }
};

/// Multiplies every row of a tile by its own factor; cols is a multiple of lane_count.
template <class S>
struct ScaleRows {
  HONE_ALWAYS_INLINE static void run(S* HONE_RESTRICT tile, std::int64_t stride, std::int64_t rows, std::int64_t cols,
                                     const S* HONE_RESTRICT factor) {
    for (std::int64_t row = 0; row < rows; ++row)
      if (factor[row] != S{1})
        for (std::int64_t at = 0; at < cols; at += lane_count)
          for (int l = 0; l < lane_count; ++l) tile[row * stride + at + l] *= factor[row];
  }
};

/// p = exp(s - lse) and ds = p (dp - delta), in place of s and dp, for tiles (lines, lanes). lse and delta belong to
/// the lines (their steps are (1, 0)) or to the lanes ((0, 1)).
template <class S, bool ByLine>
struct ScoreGradient {
  HONE_ALWAYS_INLINE static void run(S* HONE_RESTRICT scores, S* HONE_RESTRICT gradient, std::int64_t stride,
                                     std::int64_t lines, std::int64_t lanes, const S* HONE_RESTRICT lse,
                                     const S* HONE_RESTRICT delta) {
    for (std::int64_t line = 0; line < lines; ++line) {
      S* HONE_RESTRICT s = scores + line * stride;
      S* HONE_RESTRICT d = gradient + line * stride;
      for (std::int64_t at = 0; at < lanes; at += lane_count)
        for (int l = 0; l < lane_count; ++l) {
          const std::int64_t owner = ByLine ? line : at + l;
          const S p = vector_exp(s[at + l] - lse[owner]);
          s[at + l] = p;
          d[at + l] = p * (d[at + l] - delta[owner]);
        }
    }
  }
};

/// sum over a head of dout * out.
template <class T, class S>
struct HeadDot {
  HONE_ALWAYS_INLINE static void run(const T* a, const T* b, std::int64_t head_dim, std::int64_t heads,
                                     S* HONE_RESTRICT out, std::int64_t out_stride) {
    for (std::int64_t head = 0; head < heads; ++head)
      out[head * out_stride] = vector_dot<S>(a + head * head_dim, b + head * head_dim, head_dim);
  }
};

/// The loops a pass calls, for one instruction set.
template <class T>
struct TilePaths {
  using S = Accumulator<T>;
  using I = std::int64_t;

  TileMatMulPath<S> matmul;
  void (*load)(const T*, I, I, I, I, S*, I);
  void (*load_transposed)(const T*, I, I, I, I, I, I, S, S*, I);
  void (*store_row)(const S*, I, S, T*, bool);
  void (*softmax)(S*, I, I, I, S*, S*, S*);
  void (*scale_rows)(S*, I, I, I, const S*);
  void (*gradient_by_line)(S*, S*, I, I, I, const S*, const S*);
  void (*gradient_by_lane)(S*, S*, I, I, I, const S*, const S*);
  void (*head_dot)(const T*, const T*, I, I, S*, I);

  explicit TilePaths(Isa isa)
      : matmul(tile_matmul_path<S>(isa)),
        load(isa_path<LoadTile<T, S>, const T*, I, I, I, I, S*, I>(isa)),
        load_transposed(isa_path<LoadTransposed<T, S>, const T*, I, I, I, I, I, I, S, S*, I>(isa)),
        store_row(isa_path<StoreRow<T, S>, const S*, I, S, T*, bool>(isa)),
        softmax(isa_path<OnlineSoftmax<S>, S*, I, I, I, S*, S*, S*>(isa)),
        scale_rows(isa_path<ScaleRows<S>, S*, I, I, I, const S*>(isa)),
        gradient_by_line(isa_path<ScoreGradient<S, true>, S*, S*, I, I, I, const S*, const S*>(isa)),
        gradient_by_lane(isa_path<ScoreGradient<S, false>, S*, S*, I, I, I, const S*, const S*>(isa)),
        head_dot(isa_path<HeadDot<T, S>, const T*, const T*, I, I, S*, I>(isa)) {}
};

}  // namespace hone::cpu
