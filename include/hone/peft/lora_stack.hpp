// The LoRAs that one attach() puts beside the parts of one linear. Their As lie in one tensor, so that x meets one
// matrix; each keeps its name, its gradients and its place in files.
#pragma once

#include <hone/nn/init.hpp>
#include <hone/nn/linear.hpp>
#include <hone/ops/dora.hpp>
#include <hone/ops/lora.hpp>
#include <hone/peft/adapter_switch.hpp>
#include <hone/peft/lora_config.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// A part that is to get a LoRA: which one of the linear, its module's path, and the numbers of its LoRA.
struct LoraSpec {
  std::size_t part = 0;
  std::string path;
  LoRA config;
};

template <class T, Device D>
class LoraStack {
 public:
  using A = AdapterElement<T>;

  /// A drawn as PEFT does (Kaiming uniform with a = sqrt 5: bound 1 / sqrt(in)), B zero, DoRA's magnitudes the norms of
  /// the base's rows; all trainable unless said otherwise. Specs are in the order of the linear's parts and share one
  /// dropout.
  LoraStack(const Linear<T, D>& linear, const std::vector<LoraSpec>& specs, std::shared_ptr<AdapterSwitch> adapter,
            bool trains = true)
      : adapter_(std::move(adapter)) {
    const D& device = linear.device();
    std::int64_t rows = 0;
    for (const LoraSpec& spec : specs) rows += spec.config.r;
    a_.values = Tensor<A, D>::empty(device, {rows, linear.in()}, {Category::weights, "lora_A"});
    if (trains) a_.gradient = Tensor<A, D>::empty(device, {rows, linear.in()}, {Category::gradients, "gradients"});
    std::int64_t first = 0;
    for (const LoraSpec& spec : specs) {
      add_part(linear, spec, first, trains);
      first += spec.config.r;
    }
  }

  /// Adds every part's share to y (N, out of the linear), in place.
  void apply(const Tensor<T, D>& x, Tensor<T, D>& y) const {
    if (!adapter_->active) return;
    if (!adapter_->mixed) return add(x, y);
    check(!grad_enabled(), "[lora] rows of several adapters in one batch are for evaluation; guard it with no_grad");
    for (const TokenRange& range : adapter_->ranges) {
      auto rows = y.rows(range.begin, range.count);
      add(x.rows(range.begin, range.count), rows);
    }
  }

  std::size_t size() const { return parts_.size(); }
  const LoRA& config(std::size_t index) const { return configs_[index]; }
  const AdapterSwitch& adapter() const { return *adapter_; }
  Tensor<A, D>& a(std::size_t index) { return parts_[index].a; }
  Tensor<A, D>& b(std::size_t index) { return parts_[index].b; }
  /// DoRA's; undefined without it.
  Tensor<A, D>& magnitude(std::size_t index) { return doras_[index].magnitude; }

  void visit(std::size_t index, WeightVisitor<D> visitor) {
    visitor("lora_A.weight", &parts_[index].a);
    visitor("lora_B.weight", &parts_[index].b);
    if (doras_[index].magnitude.defined()) visitor("lora_magnitude_vector", &doras_[index].magnitude);
    // Whoever froze A let go of its gradient's memory; the stack must not hold on to it.
    if (!parts_[index].a.requires_grad()) a_.gradient = {};
  }

  /// Every part's weight takes up its share.
  void merge(const Linear<T, D>& linear) const {
    for (std::size_t i = 0; i < parts_.size(); ++i)
      for (std::size_t part = 0; part < linear.part_count(); ++part)
        if (linear.part(part).begin == parts_[i].begin) merge(i, linear.part(part).weight.detached());
  }

 private:
  /// weight += s B A, rounded once; with DoRA its rows are then scaled to their magnitudes.
  void merge(std::size_t index, const Tensor<T, D>& weight) const {
    const LoraPart<T, D>& part = parts_[index];
    const Dora<T, D>& dora = doras_[index];
    Tensor<A, D> norms;
    if (dora.magnitude.defined()) {
      check(adapter_->weight == 1, "[merge] an adapter with DoRA has a weight of {}: only 1 can be merged",
            adapter_->weight);
      norms = dora_norms(dora, part.a, part.b, part.scale);
    }
    gemm(part.b, part.a, weight, {.alpha = part.scale * adapter_->weight, .accumulate = true});
    if (norms.defined()) dora_scale_rows(weight, dora.magnitude, norms);
  }

  void add_part(const Linear<T, D>& linear, const LoraSpec& spec, std::int64_t first, bool trains) {
    const D& device = linear.device();
    LoraPart<T, D> part{
        a_.values.rows(first, spec.config.r),
        Tensor<A, D>::empty(device, {linear.out(spec.part), spec.config.r}, {Category::weights, "lora_B"}),
        spec.config.scale(), linear.part(spec.part).begin};
    fill_uniform(part.a, 1.0 / std::sqrt(static_cast<double>(linear.in())), spec.config.seed, stream_of(spec.path));
    fill(part.b, A{0});
    if (trains) part.a.set_slot(std::make_shared<GradientSlot<A, D>>(a_.gradient.rows(first, spec.config.r)));
    if (trains) make_trainable(part.b);
    Dora<T, D> dora;
    if (spec.config.use_dora) {
      dora = make_dora(linear.part(spec.part), part.a, part.b, part.scale);
      if (trains) make_trainable(dora.magnitude);
    }
    doras_.push_back(std::move(dora));
    parts_.push_back(std::move(part));
    configs_.push_back(spec.config);
  }

  void add(const Tensor<T, D>& x, Tensor<T, D>& y) const {
    DropoutDraw draw;
    const double p = configs_.front().dropout;
    if (p > 0 && training()) draw = {p, default_generator().next(x.elements())};
    if (adapter_->weight == 1) {
      add_lora(x, a_, std::span<const LoraPart<T, D>>(parts_), draw, y);
    } else {
      auto weighted = parts_;
      for (auto& part : weighted) part.scale *= adapter_->weight;
      add_lora(x, a_, std::span<const LoraPart<T, D>>(weighted), draw, y);
    }
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (!doras_[i].magnitude.defined()) continue;
      check(adapter_->weight == 1, "[dora] an adapter with DoRA cannot be weighted by {}: its scaling is not a sum",
            adapter_->weight);
      dora_rescale(doras_[i], dora_norms(doras_[i], parts_[i].a, parts_[i].b, parts_[i].scale), y, parts_[i].begin);
    }
  }

  std::shared_ptr<AdapterSwitch> adapter_;
  LoraStackedA<T, D> a_;
  std::vector<LoraPart<T, D>> parts_;
  std::vector<Dora<T, D>> doras_;
  std::vector<LoRA> configs_;
};

/// One part's share of a stack, as a bypass. The first one adds for all: their columns of y do not overlap.
template <class T, Device D>
class LoraBypass {
 public:
  using A = AdapterElement<T>;

  LoraBypass(std::shared_ptr<LoraStack<T, D>> stack, std::size_t index) : stack_(std::move(stack)), index_(index) {}

  void apply(const LinearSite<T, D>& at) const {
    if (index_ == 0) stack_->apply(at.x, at.y);
  }
  BypassKind kind() const {
    if (config().use_dora) return {"(m / ||W + s B A||) (W + s B A) x", Form::parallel, Composition::multiply};
    return {"s B A x", Form::parallel, Composition::add};
  }
  void visit(WeightVisitor<D> visitor) { stack_->visit(index_, visitor); }
  /// The weights take up what an active adapter adds: all parts' with the first, as apply() has it.
  void merge(const Linear<T, D>& linear, std::size_t) const {
    if (index_ == 0 && adapter().active) stack_->merge(linear);
  }

  const LoRA& config() const { return stack_->config(index_); }
  const AdapterSwitch& adapter() const { return stack_->adapter(); }
  Tensor<A, D>& a() { return stack_->a(index_); }
  Tensor<A, D>& b() { return stack_->b(index_); }
  Tensor<A, D>& magnitude() { return stack_->magnitude(index_); }

 private:
  std::shared_ptr<LoraStack<T, D>> stack_;
  std::size_t index_;
};

}  // namespace hone
