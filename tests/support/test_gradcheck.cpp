// The checker itself: right gradients pass, each kind of wrong one is caught and named.
#include "gradcheck.hpp"

#include <hone/cpu/fill_copy.hpp>

#include <doctest/doctest.h>

namespace {

using hone::Tensor;
using hone::test::gradcheck;
using hone::test::random_tensor;
using T64 = Tensor<double>;

enum class Fault { none, scale, ignores_accumulate, always_accumulates, writes_frozen, writes_input };

/// y = x1^2 * x2, element by element, with a backward that can be made wrong.
struct SquareTimes {
  T64 a, b;
  Fault fault;
  std::shared_ptr<T64::Slot> b_slot;

  static T64 forward(const T64& a, const T64& b, Fault fault) {
    auto y = T64::empty(a.device(), a.shape());
    for (std::int64_t i = 0; i < y.elements(); ++i) y.data()[i] = a.data()[i] * a.data()[i] * b.data()[i];
    if (hone::records(a, b)) hone::record(SquareTimes{a, b, fault, b.slot()}, y);
    return y;
  }

  void put(const T64& into, bool accumulate, const T64& dy, auto derivative) const {
    if (fault == Fault::ignores_accumulate) accumulate = false;
    if (fault == Fault::always_accumulates) accumulate = true;
    for (std::int64_t i = 0; i < into.elements(); ++i)
      into.data()[i] =
          (accumulate ? into.data()[i] : 0.0) + dy.data()[i] * derivative(i) * (fault == Fault::scale ? 1.001 : 1.0);
  }

  void backward(const T64& dy) {
    if (fault == Fault::writes_input) a.data()[0] += 1;
    if (a.requires_grad())
      a.slot()->contribute(a.device(), [&](auto& da, bool accumulate) {
        put(da, accumulate, dy, [&](std::int64_t i) { return 2 * a.data()[i] * b.data()[i]; });
      });
    if (b.requires_grad() && !(fault == Fault::writes_frozen && !a.requires_grad()))
      b.slot()->contribute(b.device(), [&](auto& db, bool accumulate) {
        put(db, accumulate, dy, [&](std::int64_t i) { return a.data()[i] * a.data()[i]; });
      });
  }
};

hone::test::Verdict run(Fault fault) {
  return gradcheck([fault](const T64& a, const T64& b) { return SquareTimes::forward(a, b, fault); },
                   random_tensor<double>({3, 5}, 1), random_tensor<double>({3, 5}, 2));
}

}  // namespace

TEST_CASE("gradcheck accepts a right gradient and names what is wrong with others") {
  CHECK(run(Fault::none));
  const auto text = [](Fault fault) { return run(fault).text; };
  CHECK(text(Fault::scale).find("d/dinput 0 (0, 0) is") == 0);
  CHECK(text(Fault::ignores_accumulate).find("fresh slot, accumulate") == 0);
  CHECK(text(Fault::always_accumulates).find("d/dinput 0 (0, 0) is") == 0);  // adds to poison
  CHECK(text(Fault::writes_frozen).find("inputs frozen (mask 1), d/dinput 1") == 0);
  CHECK(text(Fault::writes_input).find("backward changed an input") == 0);
}

TEST_CASE("gradcheck takes several outputs") {
  const auto two = [](const T64& a, const T64& b) {
    return std::array{SquareTimes::forward(a, b, Fault::none), SquareTimes::forward(b, a, Fault::none)};
  };
  CHECK(gradcheck(two, random_tensor<double>({2, 3}, 3), random_tensor<double>({2, 3}, 4)));
}
