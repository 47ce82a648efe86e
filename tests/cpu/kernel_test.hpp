// What the tests of CPU kernels share: random tensors, poisoned memory, devices for every path, comparison with an fp64
// reference, and central differences.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/philox.hpp>
#include <hone/tensor/kernel.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace hone::test {

/// A matrix with some unused columns behind every row, which must stay as they are.
template <class T>
struct Matrix {
  std::int64_t rows = 0, cols = 0, gap = 0;
  std::vector<T> data;

  Matrix() = default;
  Matrix(std::int64_t row_count, std::int64_t col_count, std::int64_t unused = 0)
      : rows(row_count), cols(col_count), gap(unused) {
    data.assign(static_cast<std::size_t>(rows * stride()), static_cast<T>(std::numeric_limits<float>::quiet_NaN()));
  }

  std::int64_t stride() const { return cols + gap; }
  T& operator()(std::int64_t r, std::int64_t c) { return data[static_cast<std::size_t>(r * stride() + c)]; }
  const T& operator()(std::int64_t r, std::int64_t c) const { return data[static_cast<std::size_t>(r * stride() + c)]; }
  View<T, 2> view() { return {data.data(), {rows, cols}, stride()}; }
  /// The first row as a vector.
  View<T, 1> row() { return {data.data(), {cols}, 1}; }
};

/// Normals times `spread` from stream `stream`, rounded to T.
template <class T>
Matrix<T> random_matrix(std::int64_t rows, std::int64_t cols, std::uint64_t stream, double spread = 1,
                        std::int64_t gap = 0) {
  Matrix<T> out(rows, cols, gap);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      out(r, c) = static_cast<T>(
          spread * static_cast<double>(philox_normal(17, stream, static_cast<std::uint64_t>(r * cols + c))));
  return out;
}

template <class T>
double value(T element) {
  return static_cast<double>(static_cast<Accumulator<T>>(element));
}

template <class T>
Matrix<double> widened(const Matrix<T>& in) {
  Matrix<double> out(in.rows, in.cols);
  for (std::int64_t r = 0; r < in.rows; ++r)
    for (std::int64_t c = 0; c < in.cols; ++c) out(r, c) = value(in(r, c));
  return out;
}

/// Memory that is NaN in every type, as workspaces are before a kernel writes them.
struct Workspace {
  std::vector<std::byte> bytes;
  explicit Workspace(std::int64_t size) : bytes(static_cast<std::size_t>(size), std::byte{0xff}) {}
  View<std::byte, 1> view() { return {bytes.data(), {static_cast<std::int64_t>(bytes.size())}, 1}; }
};

/// Rounding of T and what a sum of a few hundred terms adds to it.
template <class T>
constexpr double tolerance = std::is_same_v<T, double>  ? 1e-12
                             : std::is_same_v<T, float> ? 1e-5
                                                        : 1e-2;

/// Fails at the first element that differs from the reference by more than tolerance * (1 + |reference|).
template <class T>
void check_close(const std::string& what, const Matrix<T>& got, const Matrix<double>& wanted,
                 double allowed = tolerance<T>) {
  REQUIRE(got.rows == wanted.rows);
  REQUIRE(got.cols == wanted.cols);
  for (std::int64_t r = 0; r < got.rows; ++r) {
    for (std::int64_t c = 0; c < got.cols; ++c) {
      const double error = std::abs(value(got(r, c)) - wanted(r, c));
      if (error <= allowed * (1 + std::abs(wanted(r, c)))) continue;
      INFO(what << " at (" << r << ", " << c << "): got " << value(got(r, c)) << ", wanted " << wanted(r, c));
      REQUIRE(error <= allowed * (1 + std::abs(wanted(r, c))));
    }
    for (std::int64_t c = got.cols; c < got.stride(); ++c)
      if (!std::isnan(value(got.data[static_cast<std::size_t>(r * got.stride() + c)])))
        FAIL(what << ": wrote past row " << r);
  }
}

template <class T>
bool same_bits(const Matrix<T>& a, const Matrix<T>& b) {
  return a.data.size() == b.data.size() && std::memcmp(a.data.data(), b.data.data(), a.data.size() * sizeof(T)) == 0;
}

inline std::vector<Isa> isa_paths() {
  std::vector<Isa> out;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
    if (isa <= best_isa()) out.push_back(isa);
  return out;
}

inline Cpu device(Isa isa, int threads = 2) { return Cpu(Cpu::Options{.threads = threads, .isa = isa}); }

/// Runs `body(device)` on every path.
template <class F>
void on_every_path(F&& body) {
  for (const Isa isa : isa_paths()) {
    CAPTURE(name_of(isa));
    body(device(isa));
  }
}

/// Whether `make(device)` returns the same bits for 1, 2 and 3 threads, on every path.
template <class F>
void check_threads_agree(F&& make) {
  for (const Isa isa : isa_paths()) {
    CAPTURE(name_of(isa));
    const auto one = make(device(isa, 1));
    CHECK(same_bits(one, make(device(isa, 2))));
    CHECK(same_bits(one, make(device(isa, 3))));
  }
}

/// Compares `gradient` with central differences of `loss` in every element of x (which it perturbs and restores).
inline void check_gradient(const std::string& what, Matrix<double>& x, const Matrix<double>& gradient,
                           const std::function<double()>& loss) {
  constexpr double epsilon = 1e-6, absolute = 1e-7, relative = 1e-5;
  REQUIRE(x.rows == gradient.rows);
  REQUIRE(x.cols == gradient.cols);
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (std::int64_t c = 0; c < x.cols; ++c) {
      const double kept = x(r, c);
      x(r, c) = kept + epsilon;
      const double above = loss();
      x(r, c) = kept - epsilon;
      const double below = loss();
      x(r, c) = kept;
      const double numeric = (above - below) / (2 * epsilon);
      INFO(what << " at (" << r << ", " << c << "): got " << gradient(r, c) << ", differences say " << numeric);
      REQUIRE(std::abs(gradient(r, c) - numeric) <= absolute + relative * std::abs(numeric));
    }
}

/// sum of a * b: a loss whose gradient in a is b.
inline double inner(const Matrix<double>& a, const Matrix<double>& b) {
  double sum = 0;
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t c = 0; c < a.cols; ++c) sum += a(r, c) * b(r, c);
  return sum;
}

/// A view nobody wants.
template <class T, int Rank>
View<T, Rank> absent() {
  return {};
}

}  // namespace hone::test
