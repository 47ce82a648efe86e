#include <hone/cpu/matmul.hpp>

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

using hone::bf16;
using hone::Isa;
using hone::MatMulOptions;
using hone::Target;
using hone::ThreadPool;
using hone::View;

namespace {

std::vector<Isa> paths() {
  std::vector<Isa> out;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
    if (isa <= hone::best_isa()) out.push_back(isa);
  return out;
}

// Values in [-1, 1) that bf16 holds exactly.
struct Numbers {
  std::uint64_t state;
  double next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(static_cast<std::int64_t>(state >> 56) - 128) / 128.0;
  }
};

// A matrix inside a larger one: `gap` columns on the right, and a row above and below, all filled with a canary.
template <class T>
struct Matrix {
  static constexpr float canary = 12345.0f;
  std::int64_t rows, cols, stride;
  std::vector<T> storage;

  Matrix(std::int64_t r, std::int64_t c, std::int64_t gap, Numbers* numbers)
      : rows(r), cols(c), stride(c + gap), storage(static_cast<std::size_t>((r + 2) * (c + gap)), T(canary)) {
    for (std::int64_t i = 0; i < rows && numbers != nullptr; ++i)
      for (std::int64_t j = 0; j < cols; ++j) at(i, j) = T(numbers->next());
  }
  T& at(std::int64_t i, std::int64_t j) { return storage[static_cast<std::size_t>((i + 1) * stride + j)]; }
  View<T, 2> view() { return {storage.data() + stride, {rows, cols}, stride}; }
  View<const T, 2> input() { return view(); }
  bool canaries_alive() const {
    for (std::int64_t i = 0; i < rows + 2; ++i)
      for (std::int64_t j = 0; j < stride; ++j) {
        const bool inside = i >= 1 && i <= rows && j < cols;
        if (!inside &&
            static_cast<double>(storage[static_cast<std::size_t>(i * stride + j)]) != static_cast<double>(T(canary)))
          return false;
      }
    return true;
  }
};

// Workspace of exactly the planned size, poisoned, with a guard behind it.
struct Workspace {
  static constexpr std::size_t guard = 128;
  std::size_t size;
  std::vector<std::byte> storage;
  std::byte* base;

  Workspace(Isa isa, std::int64_t m, std::int64_t n, std::int64_t k)
      : size(static_cast<std::size_t>(hone::matmul_workspace_bytes(Target{.threads = 1, .isa = isa}, m, n, k))),
        storage(size + 2 * guard + 64, std::byte{0xff}) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data()) + guard;
    base = storage.data() + guard + (64 - address % 64) % 64;
  }
  View<std::byte, 1> view() { return {base, {static_cast<std::int64_t>(size)}, 1}; }
  bool guards_alive() const {
    for (std::size_t i = 0; i < guard; ++i)
      if (base[size + i] != std::byte{0xff} || base[-1 - static_cast<std::ptrdiff_t>(i)] != std::byte{0xff})
        return false;
    return true;
  }
};

template <class C>
constexpr double rounding_of() {
  if (std::is_same_v<C, bf16>) return 0.00390625 * 1.001;
  return std::is_same_v<C, double> ? 2.3e-16 : 1.2e-7;
}

struct Case {
  std::int64_t m, n, k;
  MatMulOptions options;
  std::int64_t gap;
};

// One product on one path against sums in double; returns the text of the first thing that is wrong.
template <class A, class B, class C>
std::string wrong(ThreadPool& pool, Isa isa, const Case& one) {
  const auto [m, n, k, options, gap] = one;
  Numbers numbers{static_cast<std::uint64_t>(m * 1000003 + n * 1009 + k)};
  Matrix<A> a(options.transpose_a ? k : m, options.transpose_a ? m : k, gap, &numbers);
  Matrix<B> b(options.transpose_b ? n : k, options.transpose_b ? k : n, 2 * gap, &numbers);
  Matrix<C> c(m, n, gap, &numbers);
  Matrix<C> before = c;
  if (!options.accumulate)  // memory to be overwritten may hold anything
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) c.at(i, j) = C(std::numeric_limits<float>::quiet_NaN());
  Workspace workspace(isa, m, n, k);
  hone::cpu::gemm(pool, isa, options, a.input(), b.input(), c.view(), workspace.view());
  if (!c.canaries_alive() || !workspace.guards_alive()) return "wrote outside";
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      for (std::int64_t p = 0; p < k; ++p) {
        const double term = static_cast<double>(options.transpose_a ? a.at(p, i) : a.at(i, p)) *
                            static_cast<double>(options.transpose_b ? b.at(j, p) : b.at(p, j));
        sum += term;
        magnitude += std::abs(term);
      }
      const double old = options.accumulate ? static_cast<double>(before.at(i, j)) : 0.0;
      const double want = options.alpha * sum + old;
      // Sums in S err by a few units of S for each term at most; C rounds once more.
      const double unit = std::is_same_v<C, double> ? 2.3e-16 : 1.2e-7;
      const double tolerance = std::abs(options.alpha) * magnitude * unit * (8 + 0.05 * static_cast<double>(k)) +
                               std::abs(want) * rounding_of<C>() + std::abs(old) * unit + 1e-30;
      if (!(std::abs(static_cast<double>(c.at(i, j)) - want) <= tolerance))
        return fmt::format("({}, {}) is {}, wanted {} +- {}", i, j, static_cast<double>(c.at(i, j)), want, tolerance);
    }
  return "";
}

std::string describe(Isa isa, const Case& one) {
  return fmt::format("{} m {} n {} k {} ta {} tb {} alpha {} accumulate {} gap {}", hone::name_of(isa), one.m, one.n,
                     one.k, one.options.transpose_a, one.options.transpose_b, one.options.alpha, one.options.accumulate,
                     one.gap);
}

template <class A, class B, class C>
void check_shapes(const std::vector<Case>& cases) {
  ThreadPool pool(2);
  for (const Isa isa : paths())
    for (Case one : cases)
      for (const int flags : {0, 1, 2, 3}) {
        one.options.transpose_a = flags & 1;
        one.options.transpose_b = flags & 2;
        CAPTURE(describe(isa, one));
        CHECK(wrong<A, B, C>(pool, isa, one) == "");
      }
}

const MatMulOptions plain{}, scaled{.alpha = 0.375}, added{.accumulate = true},
    both{.alpha = -1.25, .accumulate = true};

// Tile edges of every path (2, 4, 6, 8, 12 rows; 8, 16, 32 columns), narrow sides, several steps of k.
std::vector<Case> edge_cases() {
  return {{1, 1, 1, plain, 0},     {1, 1, 300, both, 1},   {2, 3, 5, added, 2},    {5, 7, 11, scaled, 1},
          {6, 16, 64, plain, 0},   {7, 17, 65, both, 3},   {12, 32, 33, added, 0}, {13, 33, 31, plain, 1},
          {1, 70, 129, both, 0},   {3, 40, 200, plain, 1}, {8, 100, 70, added, 0}, {9, 64, 257, scaled, 2},
          {70, 1, 129, both, 0},   {40, 4, 100, plain, 1}, {65, 8, 64, added, 0},  {100, 16, 30, both, 1},
          {50, 31, 300, plain, 0}, {64, 64, 8, added, 0},  {37, 66, 600, both, 5}, {24, 96, 1, plain, 0},
          {130, 129, 40, both, 1}, {0, 5, 3, plain, 0},    {5, 0, 3, plain, 0},    {4, 6, 0, plain, 1},
          {4, 6, 0, added, 1}};
}

}  // namespace

TEST_CASE("matmul: float, every path, transposition and edge") { check_shapes<float, float, float>(edge_cases()); }
TEST_CASE("matmul: double") { check_shapes<double, double, double>(edge_cases()); }
TEST_CASE("matmul: bf16 throughout, rounded once") { check_shapes<bf16, bf16, bf16>(edge_cases()); }
TEST_CASE("matmul: bf16 and float mixed") {
  const std::vector<Case> cases = {
      {7, 17, 300, both, 3}, {3, 40, 200, plain, 1}, {65, 8, 70, added, 0}, {100, 16, 600, both, 1}};
  check_shapes<bf16, float, float>(cases);
  check_shapes<float, bf16, float>(cases);
  check_shapes<bf16, bf16, float>(cases);
  check_shapes<float, float, bf16>(cases);
  check_shapes<bf16, float, bf16>(cases);
  check_shapes<float, bf16, bf16>(cases);
}

TEST_CASE("matmul: every small extent") {
  ThreadPool pool(1);
  for (const Isa isa : paths())
    for (std::int64_t m = 1; m <= 14; ++m)
      for (const std::int64_t n : {1, 2, 5, 8, 9, 15, 16, 17, 31, 32, 33}) {
        const Case one{m, n, 3 + m, {.transpose_b = n % 2 == 0}, 1};
        CAPTURE(describe(isa, one));
        CHECK(wrong<float, float, float>(pool, isa, one) == "");
      }
}

TEST_CASE("matmul: more than one block of C") {
  ThreadPool pool(2);
  const Isa isa = hone::best_isa();
  CHECK(wrong<float, float, float>(pool, isa, {1601, 35, 20, both, 1}) == "");
  CHECK(wrong<float, float, float>(pool, isa, {1601, 70, 20, both, 1}) == "");
  CHECK(wrong<float, float, float>(pool, isa, {30, 2100, 300, plain, 0}) == "");
  CHECK(wrong<bf16, bf16, bf16>(pool, isa, {1601, 70, 300, both, 1}) == "");
  CHECK(wrong<double, double, double>(pool, isa, {1601, 40, 130, both, 1}) == "");
}

TEST_CASE_TEMPLATE("matmul: equal bits for any number of threads", T, float, bf16, double) {
  struct Size {
    std::int64_t m, n, k;
  };
  ThreadPool one(1), two(2), three(3);
  for (const Isa isa : paths())
    for (const Size size : {Size{190, 530, 300}, Size{300, 8, 700}, Size{5, 900, 300}, Size{257, 20, 400}}) {
      Numbers numbers{7};
      Matrix<T> a(size.m, size.k, 0, &numbers), b(size.n, size.k, 0, &numbers), c(size.m, size.n, 0, &numbers);
      std::vector<std::vector<T>> results;
      for (ThreadPool* pool : {&one, &two, &three}) {
        Matrix<T> out = c;
        Workspace workspace(isa, size.m, size.n, size.k);
        hone::cpu::gemm(*pool, isa, {.transpose_b = true, .alpha = 0.7, .accumulate = true}, a.input(), b.input(),
                        out.view(), workspace.view());
        results.push_back(out.storage);
      }
      const std::size_t bytes = results[0].size() * sizeof(T);
      CHECK(std::memcmp(results[0].data(), results[1].data(), bytes) == 0);
      CHECK(std::memcmp(results[0].data(), results[2].data(), bytes) == 0);
    }
}

TEST_CASE("matmul: bf16 results are rounded once however k is cut") {
  // 1 + 600 * 2^-9: were the running sum kept in bf16, whose unit at 1 is 2^-7, every addend would be lost.
  const std::int64_t k = 601;
  Matrix<bf16> a(20, k, 0, nullptr), b(k, 40, 0, nullptr), c(20, 40, 0, nullptr);
  for (std::int64_t p = 0; p < k; ++p) {
    for (std::int64_t i = 0; i < 20; ++i) a.at(i, p) = bf16(p == 0 ? 1.0f : 0.001953125f);
    for (std::int64_t j = 0; j < 40; ++j) b.at(p, j) = bf16(1.0f);
  }
  ThreadPool pool(1);
  for (const Isa isa : paths()) {
    Workspace workspace(isa, 20, 40, k);
    hone::cpu::gemm(pool, isa, {}, a.input(), b.input(), c.view(), workspace.view());
    CHECK(static_cast<float>(c.at(19, 39)) == static_cast<float>(bf16(1.0f + 600.0f / 512.0f)));
  }
}

TEST_CASE("matmul: NaN and infinity reach their row and column, and nothing else") {
  constexpr float inf = std::numeric_limits<float>::infinity();
  ThreadPool pool(1);
  struct Size {
    std::int64_t m, n, k;
  };
  for (const Isa isa : paths())
    for (const Size size : {Size{20, 70, 300}, Size{4, 70, 300}, Size{70, 20, 300}}) {
      Numbers numbers{3};
      Matrix<float> a(size.m, size.k, 0, &numbers), b(size.n, size.k, 0, &numbers), c(size.m, size.n, 0, nullptr);
      for (std::int64_t p = 0; p < size.k; ++p) b.at(1, p) = 0.0f;
      a.at(2, 280) = inf;
      b.at(5, 17) = std::numeric_limits<float>::quiet_NaN();
      Workspace workspace(isa, size.m, size.n, size.k);
      hone::cpu::gemm(pool, isa, {.transpose_b = true}, a.input(), b.input(), c.view(), workspace.view());
      CHECK(std::isnan(c.at(2, 1)));  // inf * 0
      CHECK(std::isinf(c.at(2, 0)));
      for (std::int64_t i = 0; i < size.m; ++i) CHECK(std::isnan(c.at(i, 5)));
      CHECK(std::isfinite(c.at(1, 4)));
      CHECK(c.at(3, 1) == 0.0f);
    }
}

TEST_CASE("matmul: shapes that do not fit, and workspaces too small, are named") {
  ThreadPool pool(1);
  Matrix<float> a(2, 3, 0, nullptr), b(4, 5, 0, nullptr), c(2, 5, 0, nullptr), d(3, 5, 0, nullptr);
  Workspace workspace(Isa::portable, 2, 5, 4);
  CHECK_THROWS_WITH_AS(hone::cpu::gemm(pool, Isa::portable, {}, a.input(), b.input(), c.view(), workspace.view()),
                       "[matmul] a (2, 3) times b (4, 5) does not give c (2, 5)", hone::Error);
  auto small = workspace.view();
  small.extents[0] = 64;
  CHECK_THROWS_WITH_AS(hone::cpu::gemm(pool, Isa::portable, {}, a.input(), d.input(), c.view(), small),
                       doctest::Contains("[matmul] workspace has 64 bytes, wanted"), hone::Error);
}

TEST_CASE("matmul: the kernel the ops reach by its tag") {
  hone::Cpu device;
  Numbers numbers{1};
  Matrix<float> a(3, 2, 0, &numbers), b(2, 4, 0, &numbers), c(3, 4, 0, nullptr);
  Workspace workspace(device.target().isa, 3, 4, 2);
  run(hone::Tag<hone::kernel::MatMul>{}, device, MatMulOptions{}, a.input(), b.input(), c.view(), workspace.view());
  CHECK(c.at(2, 3) == doctest::Approx(a.at(2, 0) * b.at(0, 3) + a.at(2, 1) * b.at(1, 3)));
}
