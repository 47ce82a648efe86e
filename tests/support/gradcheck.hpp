// gradcheck: what every differentiable op is held to. In fp64, the gradients that backward computes are compared with
// central differences of the forward, at every element of every input; then the same gradients must come out
//   - into parameter slots that keep poisoned memory (the first contribution overwrites),
//   - on top of what a slot already holds, of both kinds of slot (later ones accumulate),
//   - with any part of the inputs frozen (they get none, the others theirs unchanged),
//   - from any single output of an op that has several.
// All memory is poisoned meanwhile, so an element read before it is written shows as a NaN.
#pragma once

#include <hone/autograd/backward.hpp>

#include "compare.hpp"
#include "random.hpp"

#include <array>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace hone::test {

struct GradcheckOptions {
  double eps = 1e-6;
  double atol = 1e-7;
  double rtol = 1e-5;
  std::uint64_t seed = 20240601;
};

namespace detail {

/// New blocks are NaN while one lives.
template <Device D>
class PoisonGuard {
 public:
  explicit PoisonGuard(const D& device) : device_(device) { device_.memory().poison_new_blocks(true); }
  ~PoisonGuard() { device_.memory().poison_new_blocks(false); }
  PoisonGuard(const PoisonGuard&) = delete;
  PoisonGuard& operator=(const PoisonGuard&) = delete;

 private:
  D device_;
};

template <Device D>
double& element(const Tensor<double, D>& tensor, std::int64_t index) {
  const std::int64_t rows = tensor.rank() == 0 ? 1 : tensor.extent(0), width = tensor.elements() / rows;
  return tensor.data()[index / width * tensor.stride() + index % width];
}

template <Device D>
std::vector<Tensor<double, D>> listed(Tensor<double, D> output) {
  return {std::move(output)};
}
template <class Outputs>
auto listed(Outputs outputs) {
  return std::apply([](auto... each) { return std::vector{each...}; }, outputs);
}

enum class Slots { fresh, kept };

/// One function under test at one point. The function is erased, so that this is compiled once and not per op.
template <Device D>
class Gradcheck {
 public:
  using T64 = Tensor<double, D>;
  using Call = std::function<std::vector<T64>(const std::vector<T64>&)>;
  using Values = std::vector<std::vector<double>>;  // one vector of gradients per input

  Gradcheck(const GradcheckOptions& options, Call call, std::vector<T64> inputs)
      : options_(options), call_(std::move(call)), inputs_(std::move(inputs)), device_(inputs_.front().device()) {}

  Verdict run() {
    const PoisonGuard<D> poison(device_);
    const std::vector<T64> outputs = forward();
    for (const T64& output : outputs)
      cotangents_.push_back(
          random_tensor<double, D>(output.shape(), options_.seed + cotangents_.size(), -1, 1, device_));
    Verdict verdict = check_seeds(std::vector<bool>(outputs.size(), true), "");
    for (std::size_t k = 0; verdict && outputs.size() > 1 && k < outputs.size(); ++k) {
      std::vector<bool> only(outputs.size(), false);
      only[k] = true;
      verdict = check_seeds(only, fmt::format("from output {} alone: ", k));
    }
    return verdict;
  }

 private:
  /// Everything, with cotangents on the outputs in `seeds`.
  Verdict check_seeds(const std::vector<bool>& seeds, const std::string& where) {
    seeds_ = seeds;
    const std::vector<bool> all(inputs_.size(), true);
    Values plain;
    if (Verdict v = backward(all, Slots::fresh, false, plain); !v) return prefixed(where, v);
    if (Verdict v = compare(plain, differences(), inputs_, options_.atol, options_.rtol, where + "d/dinput"); !v)
      return v;
    Values again;
    for (const Slots kind : {Slots::fresh, Slots::kept}) {
      for (const bool filled : {false, true}) {
        if (kind == Slots::fresh && !filled) continue;
        const std::string what = where + (kind == Slots::kept ? "kept slot, " : "fresh slot, ") +
                                 (filled ? "accumulate, " : "overwrite, ") + "d/dinput";
        if (Verdict v = backward(all, kind, filled, again); !v) return prefixed(what + ": ", v);
        if (Verdict v = compare(again, plain, inputs_, 1e-12, 1e-12, what); !v) return v;
      }
    }
    return check_frozen(plain, where);
  }

  /// Every way to freeze some of the inputs, except all of them.
  Verdict check_frozen(const Values& plain, const std::string& where) {
    const std::size_t count = inputs_.size();
    for (std::size_t mask = 1; mask + 1 < (std::size_t{1} << count); ++mask) {
      std::vector<bool> wanted(count);
      for (std::size_t k = 0; k < count; ++k) wanted[k] = ((mask >> k) & 1u) != 0;
      Values values, expected = plain;
      const std::string what =
          fmt::format("{}inputs frozen (mask {:b}), d/dinput", where, ~mask & ((std::size_t{1} << count) - 1));
      if (Verdict v = backward(wanted, Slots::fresh, false, values); !v) return prefixed(what + ": ", v);
      for (std::size_t k = 0; k < count; ++k)
        if (!wanted[k]) expected[k].clear();
      if (Verdict v = compare(values, expected, inputs_, 1e-12, 1e-12, what); !v) return v;
    }
    return {};
  }

  static Verdict prefixed(const std::string& where, const Verdict& verdict) { return {false, where + verdict.text}; }

  std::vector<T64> forward() {
    PauseRecording pause;  // not no_grad: dropout stays active
    return call_(inputs_);
  }

  /// Runs forward and backward; `values` are the gradients, empty for inputs without a slot. With `filled` the slots
  /// hold random numbers before, which are subtracted again.
  Verdict backward(const std::vector<bool>& wanted, Slots kind, bool filled, Values& values) {
    std::vector<T64> leaves, before;
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      leaves.push_back(inputs_[k].detached());
      before.push_back(random_tensor<double, D>(inputs_[k].shape(), options_.seed + 100 + k, -1, 1, device_));
      if (!wanted[k]) continue;
      give_slot(leaves[k], kind);
      if (filled) leaves[k].slot()->absorb(before[k]);
    }
    const Values inputs_before = all_values(inputs_), cotangents_before = all_values(cotangents_);
    seed_and_run(call_(leaves));
    if (current_tape().size() != 0) return {false, "the tape is not empty after backward"};
    if (Verdict v = compare(all_values(inputs_), inputs_before, inputs_, 0, 0, "backward changed an input: input"); !v)
      return v;
    if (Verdict v = compare(all_values(cotangents_), cotangents_before, cotangents_, 0, 0,
                            "backward changed the cotangent: output");
        !v)
      return v;
    values.assign(inputs_.size(), {});
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      if (!wanted[k]) continue;
      const auto& slot = leaves[k].slot();
      values[k] = slot->filled() ? doubles(slot->value())
                                 : std::vector<double>(static_cast<std::size_t>(inputs_[k].elements()), 0.0);
      const std::vector<double> subtract = doubles(before[k]);
      for (std::size_t i = 0; filled && i < subtract.size(); ++i) values[k][i] -= subtract[i];
    }
    return {};
  }

  void give_slot(T64& leaf, Slots kind) {
    if (kind == Slots::fresh) {
      leaf.require_grad();
      return;
    }
    auto buffer = T64::empty(device_, leaf.shape(), {Category::gradients, "gradcheck"});
    for (std::int64_t i = 0; i < buffer.elements(); ++i) buffer.data()[i] = std::numeric_limits<double>::quiet_NaN();
    leaf.set_slot(std::make_shared<typename T64::Slot>(std::move(buffer)));
  }

  void seed_and_run(const std::vector<T64>& outputs) {
    for (std::size_t k = 0; k < outputs.size(); ++k)
      if (seeds_[k] && outputs[k].requires_grad()) outputs[k].slot()->absorb(cotangents_[k]);
    current_tape().run_backward();
  }

  /// Central differences of sum(cotangent * output) by every element of every input.
  Values differences() {
    Values out;
    for (const T64& input : inputs_) {
      out.emplace_back();
      for (std::int64_t i = 0; i < input.elements(); ++i) {
        double& x = element(input, i);
        const double kept = x;
        x = kept + options_.eps;
        const Values above = all_values(forward());
        const double upper = x;
        x = kept - options_.eps;
        const Values below = all_values(forward());
        const double step = upper - x;  // what the two points differ by after rounding
        x = kept;
        out.back().push_back(contracted(above, below) / step);
      }
    }
    return out;
  }

  double contracted(const Values& above, const Values& below) const {
    double sum = 0;
    for (std::size_t k = 0; k < above.size(); ++k) {
      if (!seeds_[k]) continue;
      const std::vector<double> cotangent = doubles(cotangents_[k]);
      for (std::size_t j = 0; j < cotangent.size(); ++j) sum += cotangent[j] * (above[k][j] - below[k][j]);
    }
    return sum;
  }

  static Values all_values(const std::vector<T64>& tensors) {
    Values out;
    for (const T64& tensor : tensors) out.push_back(doubles(tensor));
    return out;
  }

  static Verdict compare(const Values& got, const Values& wanted, const std::vector<T64>& like, double atol,
                         double rtol, const std::string& what) {
    for (std::size_t k = 0; k < got.size(); ++k) {
      Verdict v = close(got[k], wanted[k], like[k].shape(), atol, rtol, fmt::format("{} {}", what, k));
      if (!v) return v;
    }
    return {};
  }

  GradcheckOptions options_;
  Call call_;
  std::vector<T64> inputs_;
  D device_;
  std::vector<T64> cotangents_;
  std::vector<bool> seeds_;
};

}  // namespace detail

/// As gradcheck(), with other steps and tolerances.
template <class F, Device D, class... More>
Verdict gradcheck_with(const GradcheckOptions& options, F f, const Tensor<double, D>& first, const More&... more) {
  static_assert((std::is_same_v<More, Tensor<double, D>> && ...), "gradcheck is done in double, on one device");
  constexpr std::size_t count = 1 + sizeof...(More);
  const auto call = [f](const std::vector<Tensor<double, D>>& inputs) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) { return detail::listed(f(inputs[I]...)); }
    (std::make_index_sequence<count>{});
  };
  return detail::Gradcheck<D>(options, call, {first.detached(), more.detached()...}).run();
}

/// Checks the gradients of `f(inputs...)`, which gives a Tensor<double> or a std::tuple / std::array of them, at the
/// given inputs: `CHECK(gradcheck([](auto a, auto b) { return a * b; }, a, b));`. Inputs may be column slices; their
/// values are changed and restored on the way.
template <class F, Device D, class... More>
Verdict gradcheck(F f, const Tensor<double, D>& first, const More&... more) {
  return gradcheck_with(GradcheckOptions{}, f, first, more...);
}

}  // namespace hone::test
