// What attention's backward kernels on tensor cores do between their products.
#pragma once

#include <hone/kernels/attention_tiles.cuh>
#include <hone/prim/fast_math.cuh>

#include <cstdint>

namespace hone {
inline namespace HONE_TARGET {

struct AttentionQuery {
  float lse, delta;
};

/// weights = p from scores, rounded, and `slopes` becomes ds, which was dout v^T; lse and delta of fragment j and
/// element e are query(j, e)'s.
template <int N, class Query>
__device__ void differentiate(std::uint32_t (&weights)[1][N][2], const float (&scores)[1][N][4],
                              float (&slopes)[1][N][4], float factor, Query&& query) {
  HONE_UNROLL
  for (int j = 0; j < N; ++j) {
    float p[4];
    HONE_UNROLL
    for (int e = 0; e < 4; ++e) {
      const AttentionQuery at = query(j, e);
      p[e] = exp2_fast(scores[0][j][e] * factor - at.lse * log2_of_e);
      slopes[0][j][e] = p[e] * (slopes[0][j][e] - at.delta);
    }
    weights[0][j][0] = pack_bf16(p[0], p[1]);
    weights[0][j][1] = pack_bf16(p[2], p[3]);
  }
}

template <int N>
__device__ void scale_sums(float (&sums)[1][N][4], float factor) {
  HONE_UNROLL
  for (int j = 0; j < N; ++j) {
    HONE_UNROLL
    for (int e = 0; e < 4; ++e) sums[0][j][e] *= factor;
  }
}

}  // namespace HONE_TARGET
}  // namespace hone
