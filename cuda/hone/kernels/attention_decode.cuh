// AttentionDecode: one new token against the keys and values of its sequence. There is one query a head, so the time is
// that of reading the cache once, and one block a head would leave the card idle: the keys are split, every block takes
// the queries that share a key head past its part of the keys, and a second kernel puts the parts together in the order
// of the keys (flash decoding: Dao, Haziza, Massa, Sizov, 2023). Of part s: m_s = max z, l_s = sum exp(z - m_s),
// o_s = sum exp(z - m_s) v;  m = max m_s,  out = sum exp(m_s - m) o_s / sum exp(m_s - m) l_s
#pragma once

#include <hone/kernels/attention_plain.cuh>
#include <hone/prim/fast_math.cuh>
#include <hone/tensor/gpu_workspace.hpp>

#include <cmath>

namespace hone {

namespace kernel {
struct AttentionDecode;
}

inline namespace HONE_TARGET {

// ---- kernels ----

struct DecodeTile {
  static constexpr int warps = 4, threads = warps * warp_lanes;
  static constexpr int queries = 8;  // of one key head: more than that are more blocks
  static constexpr int keys = 128;   // whose scores are held at a time
};

template <class T>
struct DecodeArgs {
  const T* q;          // (heads * head_dim)
  Rows<const T> k, v;  // (keys, kv_heads * head_dim)
  float* sums;         // (splits, heads, head_dim)
  float* most;         // (splits, heads), in base 2
  float* total;        // (splits, heads)
  int first, last;     // the keys that are seen
  int keys_of_split;
  int heads, group, head_dim;
  int lanes;     // that share a row of K or V: a power of two up to 32
  float factor;  // scale log2(e)
};

template <int Columns>
struct DecodeShared {
  using Tile = DecodeTile;
  float q[Tile::queries][Columns];
  float scores[Tile::queries][Tile::keys];
  float most[Tile::queries], total[Tile::queries], shrink[Tile::queries];
  float sums[Tile::warps][Tile::queries][Columns];
};

/// Turns the scores of a tile into weights 2^(score - most), and keeps the maximum and the sum running. A warp has
/// every fourth query.
template <class Shared>
__device__ void decode_softmax(Shared& shared, int queries) {
  using Tile = DecodeTile;
  for (int g = warp_index(); g < queries; g += Tile::warps) {
    float top = shared.most[g], sum = 0;
    const float before = top;
    for (int i = lane_index(); i < Tile::keys; i += warp_lanes) top = fmaxf(top, shared.scores[g][i]);
    top = warp_max(top);
    for (int i = lane_index(); i < Tile::keys; i += warp_lanes) {
      const float weight = exp2_fast(shared.scores[g][i] - top);
      shared.scores[g][i] = weight;
      sum += weight;
    }
    sum = warp_sum(sum);  // behind it every lane has read what is overwritten now
    if (lane_index() != 0) continue;
    shared.shrink[g] = exp2_fast(before - top);
    shared.total[g] = shared.total[g] * shared.shrink[g] + sum;
    shared.most[g] = top;
  }
}

/// Block (split, key head and its tile of queries). `lanes` threads share a row of K and V, 16 bytes each.
template <class T>
__global__ void __launch_bounds__(DecodeTile::threads) attention_decode_kernel(DecodeArgs<T> args) {
  using Tile = DecodeTile;
  constexpr int width = vector_width<T>;
  auto& shared = shared_memory<DecodeShared<warp_lanes * width>>();
  const int me = thread_index(), split = static_cast<int>(blockIdx.x);
  const int tiles = (args.group + Tile::queries - 1) / Tile::queries;
  const int kv_head = static_cast<int>(blockIdx.y) / tiles, tile = static_cast<int>(blockIdx.y) % tiles;
  const int head = kv_head * args.group + tile * Tile::queries, left = args.group - tile * Tile::queries;
  const int queries = left < Tile::queries ? left : Tile::queries;
  const int begin = args.first + split * args.keys_of_split;
  const int end = begin + args.keys_of_split < args.last ? begin + args.keys_of_split : args.last;
  const int row_of_thread = me / args.lanes, rows = Tile::threads / args.lanes, column = me % args.lanes * width;
  const bool in_row = column < args.head_dim;
  const Rows<const T> k = head_of(args.k, kv_head, args.head_dim), v = head_of(args.v, kv_head, args.head_dim);

  for (int i = me; i < Tile::queries * warp_lanes * width; i += Tile::threads) {
    const int g = i / (warp_lanes * width), c = i % (warp_lanes * width);
    const bool inside = g < queries && c < args.head_dim;
    shared.q[g][c] = inside ? to_float(load(args.q + (head + g) * args.head_dim + c)) * args.factor : 0.0f;
  }
  if (me < Tile::queries) {
    shared.most[me] = -INFINITY;
    shared.total[me] = 0;
  }
  float sums[Tile::queries][width] = {};
  __syncthreads();
  for (int first = begin; first < end; first += Tile::keys) {
    for (int row = row_of_thread; row < Tile::keys; row += rows) {
      const bool inside = first + row < end;
      Vec<T, width> key{};
      if (inside && in_row) key = load<width>(k.row(first + row) + column);
      HONE_UNROLL
      for (int g = 0; g < Tile::queries; ++g) {
        if (g >= queries) break;
        float score = 0;
        HONE_UNROLL
        for (int i = 0; i < width; ++i) score += to_float(key[i]) * shared.q[g][column + i];
        for (int offset = args.lanes / 2; offset > 0; offset /= 2) score += warp_xor(score, offset);
        if (me % args.lanes == 0) shared.scores[g][row] = inside ? score : -INFINITY;
      }
    }
    __syncthreads();
    decode_softmax(shared, queries);
    __syncthreads();
    HONE_UNROLL
    for (int g = 0; g < Tile::queries; ++g) {
      if (g >= queries) break;
      HONE_UNROLL
      for (int i = 0; i < width; ++i) sums[g][i] *= shared.shrink[g];
    }
    for (int row = row_of_thread; row < Tile::keys && first + row < end; row += rows) {
      Vec<T, width> value{};
      if (in_row) value = load<width>(v.row(first + row) + column);
      HONE_UNROLL
      for (int g = 0; g < Tile::queries; ++g) {
        if (g >= queries) break;
        HONE_UNROLL
        for (int i = 0; i < width; ++i) sums[g][i] += shared.scores[g][row] * to_float(value[i]);
      }
    }
    __syncthreads();  // the weights are read
  }
  HONE_UNROLL
  for (int g = 0; g < Tile::queries; ++g) {
    if (g >= queries) break;
    HONE_UNROLL
    for (int i = 0; i < width; ++i) {
      float sum = sums[g][i];
      for (int offset = warp_lanes / 2; offset >= args.lanes; offset /= 2) sum += warp_xor(sum, offset);
      if (lane_index() < args.lanes) shared.sums[warp_index()][g][column + i] = sum;
    }
  }
  __syncthreads();
  const std::int64_t place = std::int64_t{split} * args.heads + head;  // of the tile's first query
  for (int i = me; i < queries * args.head_dim; i += Tile::threads) {
    const int g = i / args.head_dim, c = i % args.head_dim;
    float sum = 0;
    for (int warp = 0; warp < Tile::warps; ++warp) sum += shared.sums[warp][g][c];
    store(args.sums + (place + g) * args.head_dim + c, sum);
  }
  if (me >= queries) return;
  store(args.most + place + me, shared.most[me]);
  store(args.total + place + me, shared.total[me]);
}

/// Block (head): the parts in the order of the keys.
template <class T>
__global__ void __launch_bounds__(DecodeTile::threads)
    attention_decode_join_kernel(DecodeArgs<T> args, int splits, T* out) {
  const int head = static_cast<int>(blockIdx.x);
  float most = -INFINITY;
  for (int s = 0; s < splits; ++s) most = fmaxf(most, load(args.most + s * args.heads + head));
  for (int c = thread_index(); c < args.head_dim; c += DecodeTile::threads) {
    float total = 0, sum = 0;
    for (int s = 0; s < splits; ++s) {
      const std::int64_t place = std::int64_t{s} * args.heads + head;
      const float share = exp2_fast(load(args.most + place) - most);
      total += share * load(args.total + place);
      sum += share * load(args.sums + place * args.head_dim + c);
    }
    store(out + head * args.head_dim + c, from_float<T>(sum / total));
  }
}

// ---- launchers ----

namespace kernel_detail {

/// Splits of `keys` keys: as many as there are whole tiles, and no more than give every multiprocessor a block or two.
/// They follow from the shapes alone, so the card does not show in the sums.
inline int decode_splits(const AttentionShape& shape, std::int64_t keys) {
  return static_cast<int>(
      std::clamp<std::int64_t>(keys / DecodeTile::keys, 1, gpu::attention_decode_most_splits(shape)));
}

template <class T, class... V>
bool decode_serves(const AttentionShape& shape, const V&... views) {
  return shape.head_dim % vector_width<T> == 0 && shape.head_dim <= warp_lanes * vector_width<T> &&
         allows_vectors(views...);
}

template <class T>
void attention_decode(KernelDevice& device, const AttentionShape& shape, int first, int last, const View<const T, 2>& q,
                      const View<const T, 2>& k, const View<const T, 2>& v, T* out, float* workspace) {
  const int heads = static_cast<int>(shape.heads), kv_heads = static_cast<int>(shape.kv_heads),
            head_dim = static_cast<int>(shape.head_dim), splits = decode_splits(shape, last - first);
  const int of_split = (last - first + splits - 1) / splits;
  const int used = (last - first + of_split - 1) / of_split;
  constexpr float log2_e = 1.44269504088896340736f;
  int lanes = 1;
  while (lanes * vector_width<T> < head_dim) lanes *= 2;
  float* rest = workspace + std::int64_t{used} * heads * head_dim;
  const DecodeArgs<T> args{.q = q.data,
                           .k = rows_of(k),
                           .v = rows_of(v),
                           .sums = workspace,
                           .most = rest,
                           .total = rest + std::int64_t{used} * heads,
                           .first = first,
                           .last = last,
                           .keys_of_split = of_split,
                           .heads = heads,
                           .group = heads / kv_heads,
                           .head_dim = head_dim,
                           .lanes = lanes,
                           .factor = static_cast<float>(shape.scale) * log2_e};
  const auto tiles = static_cast<unsigned>((args.group + DecodeTile::queries - 1) / DecodeTile::queries * kv_heads);
  const gpu::LaunchShape parts{{static_cast<unsigned>(used), tiles, 1},
                               {DecodeTile::threads, 1, 1},
                               sizeof(DecodeShared<warp_lanes * vector_width<T>>)};
  launch(device, "attention_decode", parts, &attention_decode_kernel<T>, args);
  const gpu::LaunchShape join{{static_cast<unsigned>(heads), 1, 1}, {DecodeTile::threads, 1, 1}, 0};
  launch(device, "attention_decode_join", join, &attention_decode_join_kernel<T>, args, used, out);
}

}  // namespace kernel_detail

/// out (1, heads * head_dim) of the only query q, which sees all of k and v (n, kv_heads * head_dim), or with a window
/// the last of them. cu_q and cu_k are {0, 1} and {0, n}. Rows that are not made of whole vectors of 16 bytes, and
/// heads too wide for a warp, take attention_plain.cuh.
template <class T>
void run(Tag<kernel::AttentionDecode>, KernelDevice& device, const AttentionShape& shape, In<T, 2> q, In<T, 2> k,
         In<T, 2> v, In<std::int32_t, 1> cu_q, In<std::int32_t, 1> cu_k, View<T, 2> out, View<std::byte, 1> workspace) {
  const auto problem = kernel_detail::attention_problem(shape, q, k, cu_q, cu_k);  // checks that the shapes fit
  check(q.rows() == 1 && k.rows() >= 1, "[attention_decode] {} queries and {} keys, wanted one query and some keys",
        q.rows(), k.rows());
  if (!kernel_detail::decode_serves<T>(shape, k, v))
    return kernel_detail::attention_plain_forward(
        device, AttentionForwardArgs<T>{problem, rows_of(q), rows_of(k), rows_of(v), rows_of(out), nullptr, 0});
  const std::int64_t wanted = gpu::attention_decode_workspace_bytes(device.target(), shape);
  check(workspace.extent(0) >= wanted, "[attention_decode] workspace has {} bytes, wanted {}", workspace.extent(0),
        wanted);
  const int first = problem.window > 0 ? problem.keys - problem.window : 0;
  kernel_detail::attention_decode(device, shape, first, problem.keys, q, k, v, out.data,
                                  reinterpret_cast<float*>(workspace.data));
}

}  // namespace HONE_TARGET
}  // namespace hone
