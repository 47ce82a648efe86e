#include <hone/cpu/attention.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

namespace {

struct Problem {
  AttentionShape shape;
  std::vector<std::int32_t> cu_q, cu_k;

  Problem(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t window,
          const std::vector<std::pair<int, int>>& documents)
      : shape{heads, kv_heads, head_dim, window, 1 / std::sqrt(static_cast<double>(head_dim))}, cu_q{0}, cu_k{0} {
    for (const auto& [queries, keys] : documents) {
      cu_q.push_back(cu_q.back() + queries);
      cu_k.push_back(cu_k.back() + keys);
    }
  }
  std::int64_t nq() const { return cu_q.back(); }
  std::int64_t nk() const { return cu_k.back(); }
  View<const std::int32_t, 1> q_lengths() const { return {cu_q.data(), {static_cast<std::int64_t>(cu_q.size())}, 1}; }
  View<const std::int32_t, 1> k_lengths() const { return {cu_k.data(), {static_cast<std::int64_t>(cu_k.size())}, 1}; }
};

const std::vector<Problem>& problems() {
  static const std::vector<Problem> all = {
      {1, 1, 8, 0, {{1, 1}}},
      {4, 2, 8, 0, {{5, 5}, {1, 1}, {0, 0}, {20, 20}}},
      {3, 1, 20, 0, {{70, 70}}},                      // odd group, head_dim no multiple of the lanes
      {2, 2, 16, 7, {{90, 90}, {3, 3}}},              // window smaller than a tile
      {8, 2, 32, 100, {{150, 150}, {40, 40}}},        // window larger than a tile
      {4, 1, 16, 0, {{1, 130}, {5, 77}, {66, 200}}},  // cached keys
      {6, 3, 10, 33, {{1, 130}, {1, 1}, {70, 140}}},
      {70, 1, 4, 0, {{9, 9}}},  // more heads in a group than a tile has rows
  };
  return all;
}

struct Reference {
  Matrix<double> out, lse, dq, dk, dv;
};

bool sees(const AttentionShape& shape, std::int64_t shift, std::int64_t i, std::int64_t j) {
  return j <= shift + i && (shape.window == 0 || j > shift + i - shape.window);
}

// The formulas, score by score.
Reference reference(const Problem& p, const Matrix<double>& q, const Matrix<double>& k, const Matrix<double>& v,
                    const Matrix<double>& dout) {
  const auto [heads, kv_heads, hd, window, scale] = p.shape;
  const auto zero = [](std::int64_t rows, std::int64_t cols) {
    Matrix<double> m(rows, cols);
    std::fill(m.data.begin(), m.data.end(), 0.0);
    return m;
  };
  Reference r{zero(q.rows, q.cols), zero(heads, q.rows), zero(q.rows, q.cols), zero(k.rows, k.cols),
              zero(k.rows, k.cols)};
  for (std::size_t d = 0; d + 1 < p.cu_q.size(); ++d) {
    const std::int64_t q0 = p.cu_q[d], k0 = p.cu_k[d], a = p.cu_q[d + 1] - q0, b = p.cu_k[d + 1] - k0;
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < a; ++i) {
        const std::int64_t at_q = h * hd, at_k = h / (heads / kv_heads) * hd;
        std::vector<double> probability(static_cast<std::size_t>(b), 0.0), dp(static_cast<std::size_t>(b), 0.0);
        double sum = 0, delta = 0;
        for (std::int64_t j = 0; j < b; ++j) {
          if (!sees(p.shape, b - a, i, j)) continue;
          double score = 0;
          for (std::int64_t e = 0; e < hd; ++e) score += q(q0 + i, at_q + e) * k(k0 + j, at_k + e);
          sum += probability[static_cast<std::size_t>(j)] = std::exp(scale * score);
        }
        r.lse(h, q0 + i) = std::log(sum);
        for (std::int64_t j = 0; j < b; ++j) {
          double& pj = probability[static_cast<std::size_t>(j)];
          pj /= sum;
          for (std::int64_t e = 0; e < hd; ++e) {
            r.out(q0 + i, at_q + e) += pj * v(k0 + j, at_k + e);
            dp[static_cast<std::size_t>(j)] += dout(q0 + i, at_q + e) * v(k0 + j, at_k + e);
            r.dv(k0 + j, at_k + e) += pj * dout(q0 + i, at_q + e);
          }
          delta += pj * dp[static_cast<std::size_t>(j)];
        }
        for (std::int64_t j = 0; j < b; ++j) {
          const double ds =
              probability[static_cast<std::size_t>(j)] * (dp[static_cast<std::size_t>(j)] - delta) * scale;
          for (std::int64_t e = 0; e < hd; ++e) {
            r.dq(q0 + i, at_q + e) += ds * k(k0 + j, at_k + e);
            r.dk(k0 + j, at_k + e) += ds * q(q0 + i, at_q + e);
          }
        }
      }
  }
  return r;
}

template <class T>
struct Tensors {
  using S = Accumulator<T>;
  Matrix<T> q, k, v, dout, out, dq, dk, dv;
  Matrix<S> lse;

  explicit Tensors(const Problem& p) {
    const std::int64_t q_cols = p.shape.heads * p.shape.head_dim, k_cols = p.shape.kv_heads * p.shape.head_dim;
    q = random_matrix<T>(p.nq(), q_cols, 1, 1, 3);
    k = random_matrix<T>(p.nk(), k_cols, 2, 1, 5);
    v = random_matrix<T>(p.nk(), k_cols, 3, 1, 1);
    dout = random_matrix<T>(p.nq(), q_cols, 4, 1, 2);
    out = Matrix<T>(p.nq(), q_cols, 4);
    lse = Matrix<S>(p.shape.heads, p.nq());
    dq = Matrix<T>(p.nq(), q_cols, 1);
    dk = Matrix<T>(p.nk(), k_cols, 2);
    dv = Matrix<T>(p.nk(), k_cols, 3);
  }

  void forward(const Cpu& cpu, const Problem& p, bool with_lse = true) {
    Workspace workspace(attention_forward_workspace_bytes(cpu.target(), p.shape, p.nq()));
    run_kernel<kernel::AttentionForward>(cpu, p.shape, q.view(), k.view(), v.view(), p.q_lengths(), p.k_lengths(),
                                         out.view(), with_lse ? lse.view() : absent<S, 2>(), workspace.view());
  }
  void backward(const Cpu& cpu, const Problem& p, bool accumulate, bool want_q = true, bool want_k = true,
                bool want_v = true) {
    Workspace workspace(attention_backward_workspace_bytes(cpu.target(), p.shape, p.nq()));
    run_kernel<kernel::AttentionBackward>(cpu, p.shape, dout.view(), q.view(), k.view(), v.view(), out.view(),
                                          lse.view(), p.q_lengths(), p.k_lengths(), want_q ? dq.view() : absent<T, 2>(),
                                          want_k ? dk.view() : absent<T, 2>(), want_v ? dv.view() : absent<T, 2>(),
                                          accumulate, workspace.view());
  }
};

Matrix<double> plus(Matrix<double> a, const Matrix<double>& b) {
  for (std::size_t i = 0; i < a.data.size(); ++i) a.data[i] += b.data[i];
  return a;
}

}  // namespace

TEST_CASE_TEMPLATE("attention: outputs and gradients follow the formulas", T, double, float, bf16) {
  const double exact = std::is_same_v<T, bf16> ? 2e-2 : std::is_same_v<T, float> ? 2e-5 : 1e-12;
  for (const Problem& p : problems()) {
    CAPTURE(p.nq());
    CAPTURE(p.shape.heads);
    const Tensors<T> inputs(p);
    const Reference wanted =
        reference(p, widened(inputs.q), widened(inputs.k), widened(inputs.v), widened(inputs.dout));
    on_every_path([&](const Cpu& cpu) {
      Tensors<T> t(p);
      t.forward(cpu, p);
      check_close("out", t.out, wanted.out, exact);
      check_close("lse", t.lse, wanted.lse);
      t.backward(cpu, p, false);
      check_close("dq", t.dq, wanted.dq, exact);
      check_close("dk", t.dk, wanted.dk, exact);
      check_close("dv", t.dv, wanted.dv, exact);
    });
  }
}

TEST_CASE_TEMPLATE("attention: gradients add to what is there; absent ones are left alone", T, double, float) {
  const Problem& p = problems()[6];
  const Tensors<T> inputs(p);
  const Reference wanted = reference(p, widened(inputs.q), widened(inputs.k), widened(inputs.v), widened(inputs.dout));
  const double exact = std::is_same_v<T, float> ? 2e-5 : 1e-12;
  on_every_path([&](const Cpu& cpu) {
    Tensors<T> t(p);
    t.forward(cpu, p);
    t.dq = random_matrix<T>(p.nq(), t.q.cols, 8);
    t.dk = random_matrix<T>(p.nk(), t.k.cols, 9);
    t.dv = random_matrix<T>(p.nk(), t.k.cols, 10);
    const auto dq = widened(t.dq), dk = widened(t.dk), dv = widened(t.dv);
    t.backward(cpu, p, true, true, false, true);
    check_close("dq", t.dq, plus(dq, wanted.dq), exact);
    check_close("dk", t.dk, dk);
    check_close("dv", t.dv, plus(dv, wanted.dv), exact);
    t.backward(cpu, p, true, false, true, false);
    check_close("dk", t.dk, plus(dk, wanted.dk), exact);
    check_close("dv", t.dv, plus(dv, wanted.dv), exact);
  });
}

TEST_CASE("attention: gradients are central differences") {
  const Problem p(4, 2, 6, 5, {{3, 3}, {1, 4}, {7, 9}});
  Tensors<double> t(p);
  const Cpu cpu = device(best_isa());
  t.forward(cpu, p);
  t.backward(cpu, p, false);
  const auto loss = [&] {
    t.forward(cpu, p, false);
    return inner(t.out, t.dout);
  };
  check_gradient("dq", t.q, t.dq, loss);
  check_gradient("dk", t.k, t.dk, loss);
  check_gradient("dv", t.v, t.dv, loss);
}

TEST_CASE_TEMPLATE("attention: the same bits for any number of threads", T, float, bf16) {
  const Problem& p = problems()[4];
  const auto results = [&](auto member) {
    check_threads_agree([&](const Cpu& cpu) {
      Tensors<T> t(p);
      t.forward(cpu, p);
      t.backward(cpu, p, false);
      return t.*member;
    });
  };
  results(&Tensors<T>::out);
  results(&Tensors<T>::dq);
  results(&Tensors<T>::dk);
  results(&Tensors<T>::dv);
}

TEST_CASE("attention: a document's bits do not depend on its neighbours in the pack") {
  const Problem alone(4, 2, 16, 0, {{77, 77}}), packed(4, 2, 16, 0, {{13, 13}, {77, 77}, {5, 5}});
  on_every_path([&](const Cpu& cpu) {
    Tensors<float> a(alone), b(packed);
    const auto put = [](Matrix<float>& from, Matrix<float>& to) {
      for (std::int64_t r = 0; r < from.rows; ++r)
        for (std::int64_t c = 0; c < from.cols; ++c) to(13 + r, c) = from(r, c);
    };
    for (const auto member : {&Tensors<float>::q, &Tensors<float>::k, &Tensors<float>::v, &Tensors<float>::dout})
      put(a.*member, b.*member);
    a.forward(cpu, alone);
    a.backward(cpu, alone, false);
    b.forward(cpu, packed);
    b.backward(cpu, packed, false);
    for (const auto member : {&Tensors<float>::out, &Tensors<float>::dq, &Tensors<float>::dk, &Tensors<float>::dv})
      for (std::int64_t r = 0; r < 77; ++r)
        for (std::int64_t c = 0; c < (a.*member).cols; ++c) REQUIRE((a.*member)(r, c) == (b.*member)(13 + r, c));
  });
}

TEST_CASE("attention: large scores and windows that leave whole tiles unseen give no NaN") {
  const Problem p(2, 1, 8, 3, {{200, 200}});
  Tensors<float> t(p);
  for (float& x : t.q.data) x *= 100;
  t.forward(device(best_isa()), p);
  t.backward(device(best_isa()), p, false);
  for (const auto member : {&Tensors<float>::out, &Tensors<float>::dq, &Tensors<float>::dk, &Tensors<float>::dv})
    for (std::int64_t r = 0; r < 200; ++r)
      for (std::int64_t c = 0; c < (t.*member).cols; ++c) REQUIRE(std::isfinite((t.*member)(r, c)));
}

TEST_CASE("attention: wrong lengths and small workspaces are errors that say so") {
  const Problem p(2, 1, 8, 0, {{4, 4}});
  const Cpu cpu = device(best_isa());
  Tensors<float> t(p);
  Problem longer = p;
  longer.cu_q.back() = 5;
  CHECK_THROWS_WITH_AS(t.forward(cpu, longer), doctest::Contains("wanted 0 to 4 queries"), Error);
  Problem fewer_keys(2, 1, 8, 0, {{3, 2}, {1, 2}});
  CHECK_THROWS_WITH_AS(t.forward(cpu, fewer_keys), doctest::Contains("document 0 has 3 queries and 2 keys"), Error);
  Workspace small(16);
  CHECK_THROWS_WITH_AS(
      run_kernel<kernel::AttentionForward>(cpu, p.shape, t.q.view(), t.k.view(), t.v.view(), p.q_lengths(),
                                           p.k_lengths(), t.out.view(), t.lse.view(), small.view()),
      doctest::Contains("[attention] workspace has 16 bytes"), Error);
}

TEST_CASE("attention: no tokens, no work") {
  const Problem p(2, 1, 8, 0, {{0, 0}});
  Tensors<float> t(p);
  CHECK_NOTHROW(t.forward(device(best_isa()), p));
  CHECK_NOTHROW(t.backward(device(best_isa()), p, false));
}
