// What every optimizer shares: token-mean scaling, the global gradient norm, clipping, and skipping non-finite steps.
#pragma once

#include <hone/cpu/optimizer.hpp>
#include <hone/nn/parameter.hpp>
#include <hone/ops/lm_head_cross_entropy.hpp>
#include <hone/optim/offload.hpp>
#include <hone/optim/state.hpp>
#include <hone/tensor/optimizer_scalars.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

namespace kernel {
/// Partial sums of squares of the gradients, in double.
struct SumOfSquares {
  static double flops(const auto& parameters, const auto&) {
    double out = 0;
    for (const auto& one : parameters) out += flops_per_element(2, one.gradient);
    return out;
  }
  static Traffic traffic(const auto& parameters, const auto& partials) {
    Traffic out{0, bytes_of(partials)};
    for (const auto& one : parameters) out.read += bytes_of(one.gradient);
    return out;
  }
};
/// Their sum, and what of the step follows from it: see begin_step.
struct BeginStep {
  static double flops(const auto&, const auto& partials, const auto&) { return flops_per_element(1, partials); }
};
}  // namespace kernel

/// Options all optimizers take.
struct OptimizerOptions {
  double learning_rate = 2e-4;
  double weight_decay = 0;
  bool decay_vectors = true;   ///< false leaves norms and biases out of weight decay
  double max_grad_norm = 1.0;  ///< 0 = no clipping
  WeightUpdate update = WeightUpdate::plain;
  std::uint64_t seed = 0;  ///< of stochastic rounding
  /// Unless 0, states and master copies are in the host's memory, and come to the device in chunks of about this many
  /// bytes (fewer where all are few). The bits are the same. Nothing changes on the processor.
  std::int64_t offload_chunk = 0;
};

/// What one step() did.
struct OptimizerReport {
  double grad_norm = 0;     ///< of the token-mean gradient, before clipping
  std::int64_t tokens = 0;  ///< supervised tokens the step is the mean over
  bool skipped = false;     ///< the norm was not finite: nothing was updated
  std::int64_t steps = 0;   ///< that updated, so far
};

/// The report of a step that left these numbers.
inline OptimizerReport report_of(const StepNumbers& numbers) {
  return {numbers.grad_norm, numbers.input.tokens, numbers.skipped != 0, numbers.step};
}

/// Of weights that are rounded as their policy says.
struct StepRounding {
  bool stochastic = false;
  std::uint64_t seed = 0;
};

namespace detail {

/// What a step moves: the value (the master copy where there is one), gradient and states are read, all but the
/// gradient written.
inline Traffic traffic_of_step(const auto& parameters) {
  Traffic out;
  for (const auto& one : parameters) {
    const std::int64_t state = bytes_of_state(one.states[0]) + bytes_of_state(one.states[1]);
    const std::int64_t value = one.master.elements() > 0 ? bytes_of(one.master) : bytes_of(one.weight);
    out.read += bytes_of(one.gradient) + state + value;
    out.written += bytes_of(one.weight) + bytes_of(one.master) + state;
  }
  return out;
}

/// One parameter with the optimizer's state for it.
template <class T, Device D>
struct OptimizedParameter {
  std::string name;
  Tensor<T, D> weight;
  std::vector<StateTensor<Accumulator<T>, D>> states;
  Tensor<float, D> master;
};

template <class T, Device D>
View<T, 1> flat_or_absent(const Tensor<T, D>& tensor) {
  return tensor.defined() ? tensor.flat() : View<T, 1>{nullptr, {0}, 1};
}

}  // namespace detail

/// `Rule` supplies: `static constexpr std::array state_names`, `state_count()`, at most 2, `state_type(name)`,
/// `rule(max_grad_norm)`, and `apply(device, rounding, numbers, parameters)`, one launch that updates all parameters of
/// one type. No part of update() waits for the device: what it decides about a step stays there, in a StepNumbers.
template <Device D, class Rule>
class Optimizer {
 public:
  Optimizer(ParameterList<D> parameters, const Rule& rule, const OptimizerOptions& options)
      : rule_(rule), options_(options), tokens_(std::move(parameters.tokens)) {
    check(!parameters.items.empty(), "[optimizer] there is no trainable parameter");
    const bool card = std::visit([](const auto& weight) { return is_card(weight.device().target()); },
                                 parameters.items.front().value);
    state_category_ = options.offload_chunk > 0 && card ? Category::host : Category::optimizer;
    std::int64_t blocks = 0;
    for (auto& item : parameters.items) {
      std::visit([&](const auto& weight) { add(item.name, weight); }, item.value);
      blocks += sum_of_squares_blocks(item.elements());
    }
    partials_ = Tensor<double, D>::empty(device(), {blocks}, {Category::optimizer, "norm partials"});
    numbers_ =
        Tensor<StepNumbers, D>::from(device(), {1}, std::array{StepNumbers{}}, {Category::optimizer, "step numbers"});
    if (state_category_ == Category::host)
      offloaded_.emplace(device(), detail::offload_chunk(options.offload_chunk, state_bytes()));
  }

  double learning_rate() const { return options_.learning_rate; }
  void set_learning_rate(double rate) { options_.learning_rate = rate; }
  /// Steps that updated. Waits for the device.
  std::int64_t steps() const { return numbers_.item().step; }
  void set_steps(std::int64_t steps) {
    StepNumbers numbers;
    numbers.step = steps;
    numbers_.copy_from(std::array{numbers});
  }

  /// Divides by the tokens of the step, clips, updates, clears. A non-finite norm leaves everything as it was. Waits
  /// for the device; update() and a later report() do not have to.
  OptimizerReport step() {
    update();
    return report();
  }

  /// step() without its report: gives the device its work and returns.
  void update() {
    upload();
    launch();
    zero_grad();
  }
  /// What the last update() did. Waits for the device; on Meta, where nothing happens, of no step.
  OptimizerReport report() const { return report_of(numbers_.item()); }

  // update() in its parts, for who records a step once and replays it.

  /// The learning rate and the tokens of the step, and where on the device launch() expects them.
  StepInput input() {
    refuse_pending();
    return {options_.learning_rate, tokens_ != nullptr ? tokens_->count : 0};
  }
  const Tensor<StepNumbers, D>& numbers() const { return numbers_; }
  /// Puts them there.
  void upload() {
    const StepInput now = input();
    if (numbers_.data() != nullptr) copy_to_device(device(), &numbers_.data()->input, &now, sizeof(now));
  }
  /// Launches norm and update; of all that changes from step to step nothing is among the arguments.
  void launch() {
    gather();
    begin();
    const StepRounding rounding{options_.update == WeightUpdate::stochastic_rounding, options_.seed};
    const auto apply = [&](auto parameters) { rule_.apply(device(), rounding, numbers_.template in<1>(), parameters); };
    each_type([&](auto parameters) { offloaded_ ? offloaded_->update(parameters, apply) : apply(parameters); });
  }

  /// Forgets all gradients and the tokens they are the sum over.
  void zero_grad() {
    each([](auto& item) { item.weight.slot()->clear(); });
    if (tokens_ != nullptr) tokens_->count = 0;
  }

  /// f(gradient) for every gradient that has been computed: what data-parallel processes sum.
  template <class F>
  void visit_gradients(F&& f) {
    each([&](auto& item) { with_gradient(item, f); });
  }
  /// The supervised tokens the gradients are the sum over.
  std::int64_t& token_count() {
    check(tokens_ != nullptr, "[optimizer] these parameters belong to no model that counts tokens");
    return tokens_->count;
  }

  /// f(name, tensor) for every tensor of state: "<parameter>.<state>", of 8 bits also "<parameter>.<state>.absmax", and
  /// "<parameter>.master".
  template <class F>
  void visit_state(F&& f) {
    const auto visit = [&]<class T>(const Item<T>& item) {
      for (std::size_t i = 0; i < item.states.size(); ++i)
        detail::visit_tensors<Accumulator<T>, D>(item.states[i], item.name + "." + Rule::state_names[i], f);
      if (item.master.defined()) f(item.name + ".master", item.master);
    };
    each(visit);
  }

 private:
  template <class T>
  using Item = detail::OptimizedParameter<T, D>;

  template <class T>
  void add(const std::string& name, const Tensor<T, D>& weight) {
    check(weight.requires_grad(), "[optimizer] parameter {} is frozen", name);
    Item<T> item{name, weight, {}, {}};
    for (std::size_t i = 0; i < rule_.state_count(); ++i)
      item.states.push_back(
          detail::zero_state<Accumulator<T>>(weight.device(), weight.shape(), {state_category_, Rule::state_names[i]},
                                             rule_.state_type(name), static_cast<std::int64_t>(i), maps_));
    if (options_.update == WeightUpdate::master && sizeof(T) < sizeof(float)) {
      item.master = Tensor<float, D>::empty(weight.device(), weight.shape(), {state_category_, "master"});
      copy_into(weight, item.master);
    }
    items_.emplace_back(std::move(item));
  }

  std::int64_t state_bytes() {
    std::int64_t out = 0;
    visit_state([&](const std::string&, const auto& state) { out += state.bytes(); });
    return out;
  }

  template <class F>
  void each(F&& f) {
    for (auto& item : items_) std::visit(f, item);
  }
  D device() const {
    return std::visit([](const auto& item) { return item.weight.device(); }, items_.front());
  }

  void refuse_pending() {
    each([](auto& item) {
      check(!item.weight.slot()->pending(),
            "[optimizer] the gradient of {} holds a loss whose backward() was not called: use no_grad for evaluation, "
            "or zero_grad() to drop it",
            item.name);
    });
  }

  /// Calls f(gradient tensor) with the slot's sum in whichever precision it is kept, if there is one.
  template <class T, class F>
  static void with_gradient(const Item<T>& item, F&& f) {
    const auto& slot = *item.weight.slot();
    if (!slot.filled()) return;
    if constexpr (sizeof(T) < sizeof(float)) {
      if (slot.wide()) return f(slot.wide_value());
    }
    f(slot.value());
  }

  /// Collects what has a gradient, by type: what one launch takes. The lists keep their memory from step to step.
  void gather() {
    std::apply([](auto&... views) { (views.clear(), ...); }, views_);
    std::uint64_t offset = 0;
    each([&](auto& item) {
      with_gradient(item, [&](const auto& gradient) { gather(item, gradient, offset); });
      offset += static_cast<std::uint64_t>(item.weight.elements());
    });
  }
  template <class T, class G>
  void gather(const Item<T>& item, const Tensor<G, D>& gradient, std::uint64_t offset) {
    OptimizedView<T, G> view{
        .weight = item.weight.flat(),
        .master = detail::flat_or_absent(item.master),
        .gradient = gradient.flat(),
        .states = {},
        .weight_decay = options_.decay_vectors || item.weight.rank() > 1 ? options_.weight_decay : 0,
        .offset = offset};
    for (std::size_t i = 0; i < item.states.size(); ++i)
      view.states[i] = detail::view_of<Accumulator<T>, D>(item.states[i]);
    std::get<Views<T, G>>(views_).push_back(view);
  }

  /// f(span of OptimizedView) for every type that has a gradient.
  template <class F>
  void each_type(F&& f) {
    const auto visit = [&]<class T, class G>(const Views<T, G>& views) {
      if (!views.empty()) f(std::span<const OptimizedView<T, G>>(views));
    };
    std::apply([&](const auto&... views) { (visit(views), ...); }, views_);
  }

  /// The partial sums are added in the order of the parameters.
  void begin() {
    std::int64_t used = 0;
    each_type([&](const auto& parameters) {
      const std::int64_t blocks = sum_of_squares_blocks(parameters);
      run_kernel<kernel::SumOfSquares>(device(), parameters, partials_.rows(used, blocks).template view<1>());
      used += blocks;
    });
    run_kernel<kernel::BeginStep>(device(), rule_.rule(options_.max_grad_norm),
                                  partials_.rows(0, used).template in<1>(), numbers_.template view<1>());
  }

  Rule rule_;
  OptimizerOptions options_;
  std::shared_ptr<GradientTokens> tokens_;
  Category state_category_ = Category::optimizer;
  std::vector<std::variant<Item<float>, Item<bf16>, Item<double>>> items_;
  template <class T, class G>
  using Views = std::vector<OptimizedView<T, G>>;
  std::tuple<Views<float, float>, Views<bf16, bf16>, Views<bf16, float>, Views<double, double>> views_;
  Tensor<double, D> partials_;
  Tensor<StepNumbers, D> numbers_;
  Tensor<DynamicMap, D> maps_;  // of states of 8 bits, else undefined
  std::optional<OffloadedStates<D>> offloaded_;
};

}  // namespace hone
