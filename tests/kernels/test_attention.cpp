#include "attention_problem.hpp"

#include <hone/autograd/backward.hpp>

using namespace hone;
using namespace hone::test;

TEST_CASE_TEMPLATE("attention without tensor cores follows the formulas", P, On<Cpu, float>, On<Emu, float>,
                   On<Cpu, bf16>, On<Emu, bf16>) {
  using D = typename P::Device;
  using T = typename P::Element;
  const std::vector<Problem> problems = {
      {1, 1, 8, 0, {{1, 1}, {2, 2}}},
      {4, 2, 8, 0, {{5, 5}, {1, 1}, {0, 0}, {20, 20}}},
      {3, 1, 20, 5, {{35, 35}, {3, 3}}},
      {1, 1, 7, 0, {{5, 5}}},                       // an odd head_dim, whose rows lie without a gap
      {6, 3, 10, 33, {{1, 60}, {0, 9}, {17, 40}}},  // cached keys, and keys that nobody sees
  };
  for (const Problem& p : problems) check_problem<T, D>(p);
}

TEST_CASE_TEMPLATE("attention on tensor cores follows the formulas", D, Cpu, Emu) {
  const std::vector<Problem> problems = {
      {1, 1, 64, 0, {{1, 1}, {2, 2}}},
      {2, 1, 64, 0, {{130, 130}}},                         // two tiles of queries, three of keys
      {2, 2, 96, 20, {{70, 70}, {1, 1}, {30, 30}}},        // a window, and tiles that three documents share
      {4, 2, 128, 0, {{3, 3}, {0, 0}, {45, 45}, {0, 0}}},  // empty documents
      {1, 1, 64, 20, {{30, 30}, {5, 100}}},                // a tile of keys that ends with keys outside every window
      {2, 1, 128, 40, {{1, 150}, {0, 12}, {6, 67}}},       // cached keys, some outside every window
      {1, 1, 64, 95, {{96, 96}}},  // a tile of keys that all rows of a warp see but for the last row's first key
      {1, 1, 64, 0, {{64, 94}}},   // and one but for the first row's last key
  };
  for (const Problem& p : problems) check_problem<bf16, D>(p);
}

TEST_CASE_TEMPLATE("attention takes rows of any alignment", D, Cpu, Emu) {
  check_problem<bf16, D>({2, 1, 64, 0, {{19, 19}}}, 3);
}

TEST_CASE_TEMPLATE("attention: gradients add to what is there; absent ones are left alone", P, On<Cpu, float>,
                   On<Emu, float>, On<Emu, bf16>) {
  check_accumulation<typename P::Element, typename P::Device>({2, 1, 64, 0, {{9, 11}}});
}

TEST_CASE_TEMPLATE("attention writes its columns only, and no lse where none is wanted", T, float, bf16) {
  const Problem p(2, 1, 64, 0, {{20, 20}});
  Tensors<T, Emu> t(p);
  t.forward();
  const Values with_lse = doubles(t.out);
  const auto wide = random_tensor<T, Emu>({p.nq(), p.q_columns() + 16}, 5, -1, 1, t.device);
  const Values before = doubles(wide);
  t.out = wide.columns(8, p.q_columns());
  t.forward(false);
  CHECK(doubles(t.out) == with_lse);
  const Values after = doubles(wide);
  const auto width = static_cast<std::size_t>(p.q_columns()) + 16;
  for (std::size_t i = 0; i < after.size(); ++i)
    if (i % width < 8 || i % width >= width - 8) CHECK(after[i] == before[i]);
}

TEST_CASE_TEMPLATE("attention: large scores that grow from tile to tile", T, float, bf16) {
  for (const Problem& p : {Problem(1, 1, 64, 3, {{70, 70}}), Problem(1, 1, 64, 0, {{8, 136}})}) {
    CAPTURE(p.name());
    Tensors<T, Emu> t(p);
    for (std::int64_t i = 0; i < p.nq(); ++i) {
      for (std::int64_t c = 0; c < p.q_columns(); ++c) {
        T& x = t.q.template view<2>()(i, c);
        x = T(100 * static_cast<float>(x));
      }
    }
    const Results wanted = formula(p, t.inputs(), &exactly), got = t.run();
    CHECK(distance(got.lse, wanted.lse).nmse < 1e-10);
    CHECK(distance(got.out, wanted.out).nmse < 1e-5);
    CHECK(distance(got.dv, wanted.dv).nmse < 1e-5);
    for (const double value : got.dq) REQUIRE(std::isfinite(value));
  }
}

TEST_CASE("attention on Emu: work and traffic of tensor cores") {
  const Problem p(1, 1, 64, 0, {{120, 120}});
  Tensors<bf16, Emu> t(p);
  const emulator::WithSettings settings({.count_requests = true});
  constexpr std::int64_t product = 2 * 16 * 64 * 64;  // of 16 rows, 64 positions and 64 columns, in FLOPs
  emulator::counters() = {};
  t.forward();
  // Two products for every 16 queries and tile of keys they see: of two tiles the first 64 queries see one.
  CHECK(emulator::counters().mma_flops == 2 * (4 * 1 + 4 * 2) * product);
  CHECK(emulator::counters().async_copy_bytes == 3 * 120 * 64 * 2);  // q, k and v once, nothing past their end
  CHECK(emulator::counters().shared_bank_conflicts == 0);
  emulator::counters() = {};
  t.backward(false);
  // Three pairs of 64 queries and 64 keys are seen: four products for dk and dv, three for dq.
  CHECK(emulator::counters().mma_flops == 7 * 3 * 4 * product);
  CHECK(emulator::counters().shared_bank_conflicts == 0);
}

TEST_CASE("attention on Emu: what does not fit is an error that says so") {
  const Problem p(2, 1, 8, 0, {{4, 4}});
  Tensors<float, Emu> t(p);
  t.forward();
  const std::vector<std::int32_t> fewer_keys{0, 3}, none{0};
  const auto with = [&](const std::vector<std::int32_t>& cu_k) {
    t.cu_k = Tensor<std::int32_t, Emu>::from(t.device, {static_cast<std::int64_t>(cu_k.size())}, cu_k);
    t.forward();
  };
  CHECK_THROWS_WITH_AS(with(fewer_keys), doctest::Contains("device_check"), Error);
  CHECK_THROWS_WITH_AS(with(none), "[attention] cu_q and cu_k have 2 and 1 entries, wanted the same number, at least 1",
                       Error);
  CHECK_THROWS_WITH_AS(run_kernel<kernel::AttentionBackward>(
                           t.device, p.shape, t.dout.in<2>(), t.q.in<2>(), t.k.in<2>(), t.v.in<2>(), t.out.in<2>(),
                           t.lse.in<2>(), t.cu_q.in<1>(), t.cu_q.in<1>(), t.dq.view<2>(), t.dk.view<2>(),
                           t.dv.view<2>(), false, View<std::byte, 1>{nullptr, {0}, 1}),
                       "[attention] workspace has 0 bytes, wanted 32", Error);
}

TEST_CASE("attention on Emu: cumulative lengths that do not fit are an error on Emu, forward and backward") {
  using Ends = std::vector<std::int32_t>;
  // Kernels whose rows are queries look at one side of it, those whose rows are keys at the other.
  enum class Rows { queries, keys, both };
  const auto refused = [](const Problem& p, const Ends& cu_q, const Ends& cu_k, Rows by = Rows::both) {
    Tensors<float, Emu> t(p);
    const auto ends = [&](const Ends& values) {
      return Tensor<std::int32_t, Emu>::from(t.device, {static_cast<std::int64_t>(values.size())}, values);
    };
    t.cu_q = ends(cu_q);
    t.cu_k = ends(cu_k);
    if (by != Rows::keys) {
      CHECK_THROWS_WITH_AS(t.forward(), doctest::Contains("device_check"), Error);
      CHECK_THROWS_WITH_AS(t.backward(false, true, false, false), doctest::Contains("device_check"), Error);
    }
    if (by != Rows::queries) CHECK_THROWS_WITH_AS(t.backward(false, false), doctest::Contains("device_check"), Error);
  };
  const Problem square(2, 1, 8, 0, {{4, 4}});
  refused(square, {0, 3}, {0, 3});                                     // the last row is in no document
  refused(square, {1, 4}, {1, 4});                                     // nor is the first
  refused(square, {2, 3, 4}, {2, 3, 4});                               // nor are two of them
  refused(square, {0, 4}, {-1, 4}, Rows::queries);                     // a key before the first
  refused(square, {-1, 3}, {0, 4}, Rows::keys);                        // a query before the first
  refused(square, {0, 4}, {0, 5}, Rows::queries);                      // more keys than there are
  refused(Problem(2, 1, 8, 0, {{4, 5}}), {0, 5}, {0, 5}, Rows::keys);  // more queries than there are
  refused(Problem(2, 1, 8, 0, {{4, 3}}), {0, 4}, {0, 3});              // fewer keys than queries
}

TEST_CASE_TEMPLATE("attention: no tokens, no work", T, float, bf16) {
  const Problem p(2, 1, 64, 0, {{0, 0}});
  Tensors<T, Emu> t(p);
  emulator::counters() = {};
  CHECK_NOTHROW(t.forward());
  CHECK_NOTHROW(t.backward(false));
  CHECK(emulator::counters().launches == 0);
}

TEST_CASE("the op of attention is the same on Emu") {
  const Problem p(4, 2, 64, 0, {{10, 10}, {13, 13}});
  const auto train = [&]<class D>(const D& device) {
    auto qkv = random_tensor<bf16, D>({p.nq(), p.q_columns() + 2 * p.k_columns()}, 1, -1, 1, device);
    qkv.require_grad();
    const auto ends = Tensor<std::int32_t, D>::from(device, {static_cast<std::int64_t>(p.cu_q.size())}, p.cu_q);
    const auto out = attention(qkv, ends, p.shape);
    out.backward(random_tensor<bf16, D>({p.nq(), p.q_columns()}, 2, -1, 1, device));
    return std::pair(doubles(out), doubles(qkv.gradient()));
  };
  const auto wanted = train(poisoned_device<Cpu>()), got = train(poisoned_device<Emu>());
  CHECK(distance(got.first, wanted.first).nmse < 2e-5);
  CHECK(distance(got.second, wanted.second).nmse < 4e-5);
}
