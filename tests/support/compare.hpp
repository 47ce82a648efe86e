// Comparisons that say where two tensors differ.
#pragma once

#include <hone/core/error.hpp>
#include <hone/tensor/tensor.hpp>

#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace hone::test {

/// Yes or no, with the reason: `CHECK(verdict)` prints it.
struct Verdict {
  bool ok = true;
  std::string text;
  explicit operator bool() const { return ok; }
  friend std::ostream& operator<<(std::ostream& out, const Verdict& verdict) {
    return out << (verdict.ok ? "ok" : verdict.text);
  }
};

/// "(1, 0, 2)" for element `index` in row-major order.
inline std::string coordinate(const Shape& shape, std::int64_t index) {
  Shape at = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    at[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return to_string(at);
}

/// Equal within atol + rtol * |wanted|, element by element (two NaNs are equal); names the first element that is not,
/// and how many are not.
inline Verdict close(const std::vector<double>& got, const std::vector<double>& wanted, const Shape& shape, double atol,
                     double rtol, const std::string& what = "value") {
  if (got.size() != wanted.size())
    return {false, fmt::format("{}: {} values, wanted {}", what, got.size(), wanted.size())};
  std::int64_t first = -1, bad = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool same = std::isnan(got[i])
                          ? std::isnan(wanted[i])
                          : got[i] == wanted[i] || std::abs(got[i] - wanted[i]) <= atol + rtol * std::abs(wanted[i]);
    if (same) continue;
    if (bad++ == 0) first = static_cast<std::int64_t>(i);
  }
  if (bad == 0) return {};
  const auto at = static_cast<std::size_t>(first);
  return {false, fmt::format("{} {} is {:.17g}, wanted {:.17g} (difference {:.3g}; {} of {} elements of {} differ)",
                             what, coordinate(shape, first), got[at], wanted[at], got[at] - wanted[at], bad, got.size(),
                             to_string(shape))};
}

/// The elements as doubles, in row-major order.
template <class T, Device D>
std::vector<double> doubles(const Tensor<T, D>& tensor) {
  std::vector<double> out;
  for (const T value : tensor.to_vector()) out.push_back(static_cast<double>(value));
  return out;
}

template <class A, class B, Device D, Device E>
Verdict close(const Tensor<A, D>& got, const Tensor<B, E>& wanted, double atol, double rtol,
              const std::string& what = "value") {
  if (!(got.shape() == wanted.shape()))
    return {false, fmt::format("{}: shape {}, wanted {}", what, to_string(got.shape()), to_string(wanted.shape()))};
  return close(doubles(got), doubles(wanted), wanted.shape(), atol, rtol, what);
}

/// Every bit the same.
template <class T, Device D, Device E>
Verdict same_bits(const Tensor<T, D>& got, const Tensor<T, E>& wanted, const std::string& what = "value") {
  if (!(got.shape() == wanted.shape()))
    return {false, fmt::format("{}: shape {}, wanted {}", what, to_string(got.shape()), to_string(wanted.shape()))};
  const std::vector<T> a = got.to_vector(), b = wanted.to_vector();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0)
      return {false, fmt::format("{} {} is {:.17g}, wanted the same bits as {:.17g}", what,
                                 coordinate(got.shape(), static_cast<std::int64_t>(i)), static_cast<double>(a[i]),
                                 static_cast<double>(b[i]))};
  return {};
}

/// How far `got` is from `wanted` as a whole: mean squared error over mean square, and the worst element.
struct Distance {
  double nmse = 0;
  double worst = 0;           ///< largest absolute difference
  std::int64_t worst_at = 0;  ///< its row-major index
};

inline Distance distance(const std::vector<double>& got, const std::vector<double>& wanted) {
  check(got.size() == wanted.size(), "[distance] {} values against {}", got.size(), wanted.size());
  Distance out;
  double error = 0, power = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(got[i] - wanted[i]);
    error += difference * difference;
    power += wanted[i] * wanted[i];
    if (!(difference <= out.worst)) out.worst = difference, out.worst_at = static_cast<std::int64_t>(i);
  }
  out.nmse = power > 0 ? error / power : error;
  return out;
}

template <class A, class B, Device D, Device E>
Distance distance(const Tensor<A, D>& got, const Tensor<B, E>& wanted) {
  return distance(doubles(got), doubles(wanted));
}

}  // namespace hone::test
