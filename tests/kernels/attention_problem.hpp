// Attention's problems, their formulas score by score, and one test body for every kernel of it.
#pragma once

#include "every_device.hpp"

#include <hone/cpu/attention.hpp>
#include <hone/kernels/attention_backward.cuh>
#include <hone/kernels/fill_copy.cuh>
#include <hone/ops/attention.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace hone::test {

using Values = std::vector<double>;

struct Problem {
  AttentionShape shape;
  std::vector<std::int32_t> cu_q{0}, cu_k{0};

  Problem(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t window,
          const std::vector<std::pair<int, int>>& documents)
      : shape{heads, kv_heads, head_dim, window, 1 / std::sqrt(static_cast<double>(head_dim))} {
    for (const auto& [queries, keys] : documents) {
      cu_q.push_back(cu_q.back() + queries);
      cu_k.push_back(cu_k.back() + keys);
    }
  }
  std::int64_t nq() const { return cu_q.back(); }
  std::int64_t nk() const { return cu_k.back(); }
  std::int64_t q_columns() const { return shape.heads * shape.head_dim; }
  std::int64_t k_columns() const { return shape.kv_heads * shape.head_dim; }
  std::string name() const {
    return fmt::format("{} queries, {} keys, {} / {} heads of {}, window {}", nq(), nk(), shape.heads, shape.kv_heads,
                       shape.head_dim, shape.window);
  }
};

/// What attention makes of q, k, v and dout, all row-major.
struct Results {
  Values out, lse, dq, dk, dv;
};

inline double exactly(double value) { return value; }
inline double to_bf16(double value) { return bf16(value); }

/// The formulas for one query of one head, score by score. `rounded` is applied to each matrix that a program without
/// fused attention would write: scores, probabilities, and their gradients.
inline void attend(const Problem& p, const std::array<Values, 4>& inputs, std::size_t document, std::int64_t h,
                   std::int64_t i, double (*rounded)(double), Results& r) {
  const auto& [q, k, v, dout] = inputs;
  const std::int64_t dim = p.shape.head_dim, q_end = p.cu_q[document + 1], k_begin = p.cu_k[document],
                     last = p.cu_k[document + 1] - (q_end - i),
                     first = p.shape.window > 0 ? std::max(k_begin, last + 1 - p.shape.window) : k_begin;
  const auto at_q = static_cast<std::size_t>(i * p.q_columns() + h * dim);
  const auto at_k = [&](std::int64_t j) {
    return static_cast<std::size_t>(j * p.k_columns() + h / (p.shape.heads / p.shape.kv_heads) * dim);
  };
  const auto dot = [&](const Values& a, std::size_t from_a, const Values& b, std::size_t from_b) {
    double sum = 0;
    for (std::size_t c = 0; c < static_cast<std::size_t>(dim); ++c) sum += a[from_a + c] * b[from_b + c];
    return sum;
  };
  Values scores, slopes;
  double most = -std::numeric_limits<double>::infinity(), total = 0;
  for (std::int64_t j = first; j <= last; ++j) {
    scores.push_back(rounded(p.shape.scale * rounded(dot(q, at_q, k, at_k(j)))));
    slopes.push_back(rounded(dot(dout, at_q, v, at_k(j))));
    most = std::max(most, scores.back());
  }
  for (const double score : scores) total += std::exp(score - most);
  r.lse[static_cast<std::size_t>(h * p.nq() + i)] = most + std::log(total);
  double delta = 0;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    scores[j] = rounded(std::exp(scores[j] - most) / total);
    delta += scores[j] * slopes[j];
  }
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const std::size_t key = at_k(first + static_cast<std::int64_t>(j));
    const double slope = rounded(p.shape.scale * rounded(scores[j] * (slopes[j] - delta)));
    for (std::size_t c = 0; c < static_cast<std::size_t>(dim); ++c) {
      r.out[at_q + c] += scores[j] * v[key + c];
      r.dq[at_q + c] += slope * k[key + c];
      r.dk[key + c] += slope * q[at_q + c];
      r.dv[key + c] += scores[j] * dout[at_q + c];
    }
  }
}

inline Results formula(const Problem& p, const std::array<Values, 4>& inputs, double (*rounded)(double)) {
  const auto zeros = [](std::int64_t count) { return Values(static_cast<std::size_t>(count), 0.0); };
  Results r{zeros(p.nq() * p.q_columns()), zeros(p.shape.heads * p.nq()), zeros(p.nq() * p.q_columns()),
            zeros(p.nk() * p.k_columns()), zeros(p.nk() * p.k_columns())};
  for (std::size_t d = 0; d + 1 < p.cu_q.size(); ++d)
    for (std::int64_t i = p.cu_q[d]; i < p.cu_q[d + 1]; ++i)
      for (std::int64_t h = 0; h < p.shape.heads; ++h) attend(p, inputs, d, h, i, rounded, r);
  for (Values* matrix : {&r.out, &r.dq, &r.dk, &r.dv})
    for (double& value : *matrix) value = rounded(value);
  return r;
}

/// Tensors of one call. Queries, keys and values are column slices of wider matrices, `edge` columns from their left.
template <class T, class D>
struct Tensors {
  Problem p;
  D device;
  std::int64_t edge;
  Tensor<T, D> q, k, v, dout, out, dq, dk, dv;
  Tensor<float, D> lse;
  Tensor<std::int32_t, D> cu_q, cu_k;

  explicit Tensors(const Problem& problem, std::int64_t edge_ = 8, int sm = 80)
      : p(problem), device(poisoned_device<D>(sm)), edge(edge_) {
    q = slice(p.nq(), p.q_columns(), 1, -2, 2);
    k = slice(p.nk(), p.k_columns(), 2, -2, 2);
    v = slice(p.nk(), p.k_columns(), 3, -1, 1);
    dout = slice(p.nq(), p.q_columns(), 4, -1, 1);
    cu_q = Tensor<std::int32_t, D>::from(device, {static_cast<std::int64_t>(p.cu_q.size())}, p.cu_q);
    cu_k = Tensor<std::int32_t, D>::from(device, {static_cast<std::int64_t>(p.cu_k.size())}, p.cu_k);
    renew();
  }

  Tensor<T, D> slice(std::int64_t rows, std::int64_t cols, std::uint64_t seed, double low, double high) const {
    return random_tensor<T, D>({rows, cols + 2 * edge}, seed, low, high, device).columns(edge, cols);
  }
  Tensor<T, D> poisoned_slice(std::int64_t rows, std::int64_t cols) const {
    return Tensor<T, D>::empty(device, {rows, cols + 2 * edge}).columns(edge, cols);
  }
  void renew() {
    out = poisoned_slice(p.nq(), p.q_columns());
    lse = Tensor<float, D>::empty(device, {p.shape.heads, p.nq()});
    dq = poisoned_slice(p.nq(), p.q_columns());
    dk = poisoned_slice(p.nk(), p.k_columns());
    dv = poisoned_slice(p.nk(), p.k_columns());
  }
  std::array<Values, 4> inputs() const { return {doubles(q), doubles(k), doubles(v), doubles(dout)}; }

  template <class Tag>
  Tensor<std::byte, D> workspace(Tag tag) const {
    return Tensor<std::byte, D>::empty(device, {workspace_bytes(tag, device.target(), p.shape, p.nq())});
  }
  void forward(bool with_lse = true) const {
    const auto scratch = workspace(Tag<kernel::AttentionForward>{});
    run_kernel<kernel::AttentionForward>(device, p.shape, q.template in<2>(), k.template in<2>(), v.template in<2>(),
                                         cu_q.template in<1>(), cu_k.template in<1>(), out.template view<2>(),
                                         with_lse ? lse.template view<2>() : View<float, 2>{nullptr, {0, 0}, 0},
                                         scratch.template view<1>());
  }
  void backward(bool accumulate, bool want_q = true, bool want_k = true, bool want_v = true) const {
    const auto scratch = workspace(Tag<kernel::AttentionBackward>{});
    const auto result = [](bool wanted, const Tensor<T, D>& tensor) {
      return wanted ? tensor.template view<2>() : View<T, 2>{nullptr, {0, tensor.extent(1)}, tensor.extent(1)};
    };
    run_kernel<kernel::AttentionBackward>(
        device, p.shape, dout.template in<2>(), q.template in<2>(), k.template in<2>(), v.template in<2>(),
        out.template in<2>(), lse.template in<2>(), cu_q.template in<1>(), cu_k.template in<1>(), result(want_q, dq),
        result(want_k, dk), result(want_v, dv), accumulate, scratch.template view<1>());
  }

  Results run() {
    const Values all = in_every_order<D>([&] {
      renew();
      forward();
      backward(false);
      return joined(out, lse, dq, dk, dv);
    });
    std::int64_t at = 0;
    const auto take = [&](const auto& tensor) {
      return part(all, std::exchange(at, at + tensor.shape().elements()), tensor.shape().elements());
    };
    Results r;
    r.out = take(out), r.lse = take(lse), r.dq = take(dq), r.dk = take(dk), r.dv = take(dv);
    return r;
  }
};

/// In float: near. In bf16: at most twice as far from the formulas, as a whole and at the worst element, as a program
/// that rounds every matrix it writes to bf16.
template <class T>
void check_results(const Results& got, const Results& wanted, const Results& plain) {
  CHECK(near<float>(got.lse, wanted.lse, "lse"));
  const auto compare = [&](const std::string& what, Values Results::*matrix) {
    CAPTURE(what);
    if constexpr (std::is_same_v<T, float>) {
      CHECK(near<T>(got.*matrix, wanted.*matrix, what));
    } else {
      const Distance here = distance(got.*matrix, wanted.*matrix), there = distance(plain.*matrix, wanted.*matrix);
      CHECK(here.nmse <= 4 * there.nmse);
      CHECK(here.worst <= 2 * there.worst);
    }
  };
  compare("out", &Results::out);
  compare("dq", &Results::dq);
  compare("dk", &Results::dk);
  compare("dv", &Results::dv);
}

template <class T, class D>
void check_problem(const Problem& p, std::int64_t edge = 8, int sm = 80) {
  CAPTURE(p.name());
  Tensors<T, D> tensors(p, edge, sm);
  const auto inputs = tensors.inputs();
  check_results<T>(tensors.run(), formula(p, inputs, &exactly), formula(p, inputs, &to_bf16));
}

/// Gradients add to what is there; absent ones are left alone.
template <class T, class D>
void check_accumulation(const Problem& p, int sm = 80) {
  Tensors<T, D> t(p, 8, sm);
  const Results wanted = formula(p, t.inputs(), &exactly);
  t.forward();
  t.dq = t.slice(p.nq(), p.q_columns(), 8, -1, 1);
  t.dk = t.slice(p.nk(), p.k_columns(), 9, -1, 1);
  t.dv = t.slice(p.nk(), p.k_columns(), 10, -1, 1);
  const Values dq = doubles(t.dq), dk = doubles(t.dk), dv = doubles(t.dv);
  const auto sum = [](Values a, const Values& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    return a;
  };
  t.backward(true, true, false, true);
  CHECK(near<T>(doubles(t.dq), sum(dq, wanted.dq), "dq"));
  CHECK(doubles(t.dk) == dk);
  CHECK(near<T>(doubles(t.dv), sum(dv, wanted.dv), "dv"));
  t.backward(true, false, true, false);
  CHECK(near<T>(doubles(t.dk), sum(dk, wanted.dk), "dk"));
  CHECK(near<T>(doubles(t.dv), sum(dv, wanted.dv), "dv"));
}

}  // namespace hone::test
