// Several adapters on one base, by name: switched per request, summed with weights, combined into new ones, or each on
// its own rows of one batch.
#pragma once

#include <hone/nn/batch.hpp>
#include <hone/peft/adapter_folder.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// How add_weighted forms a new adapter out of others; PEFT's names.
enum class Combination {
  cat,    ///< exact: ranks add up
  linear  ///< As and Bs are summed apart, which is rough but keeps the rank; all must have the same
};

/// While one lives, adapters act on the rows of a batch they were given; afterwards as before.
class [[nodiscard]] MixedRows {
 public:
  using Switches = std::vector<std::shared_ptr<AdapterSwitch>>;
  explicit MixedRows(Switches switches) : switches_(std::move(switches)) {
    for (const auto& one : switches_) before_.push_back(*one);
  }
  ~MixedRows() {
    for (std::size_t i = 0; i < switches_.size(); ++i) *switches_[i] = before_[i];
  }
  MixedRows(MixedRows&& other) noexcept = default;  // what was moved from has nothing to put back
  MixedRows(const MixedRows&) = delete;
  MixedRows& operator=(const MixedRows&) = delete;

 private:
  Switches switches_;
  std::vector<AdapterSwitch> before_;
};

/// The named adapters of one model, which must outlive this. Names and what they do are PEFT's.
template <class Model>
class Adapters {
 public:
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  using Names = std::vector<std::string>;

  explicit Adapters(Model& model) : model_(&model) {}

  /// Loads a PEFT folder. The first adapter acts at once, later ones when they are set. An adapter that saves whole
  /// modules changes the base, so it must be the only one. Returns what load_adapter does.
  AdapterNotes load(const std::string& name, const std::filesystem::path& folder) {
    const auto config = read_adapter_config(folder);
    check(config.peft_type == "LORA", "[adapters] '{}' is {}; several adapters on one base must be LORA", name,
          config.peft_type);
    check(config.modules_to_save.empty() || switches_.empty(),
          "[adapters] '{}' saves whole modules of the base ({}): it cannot share it with other adapters", name,
          join_or(config.modules_to_save));
    check(!whole_modules_, "[adapters] '{}' cannot be added to an adapter that saves whole modules of the base", name);
    const auto adapter = add(name);
    try {
      auto notes = load_adapter(*model_, folder, adapter);
      whole_modules_ = !config.modules_to_save.empty();
      return notes;
    } catch (...) {
      erase(name);  // the name is free again
      throw;
    }
  }

  /// Puts a fresh LoRA on the model; see attach(). What was there stays trainable: see train_only().
  std::vector<std::string> attach(const std::string& name, const Names& target_modules, const LoRA& config) {
    return hone::attach(*model_, target_modules, config, add(name));
  }

  const Names& names() const { return names_; }
  /// Those that act, in the order they were added.
  Names active() const {
    Names out;
    for (const std::string& name : names_)
      if (switches_.at(name)->active) out.push_back(name);
    return out;
  }

  /// Makes these act, and no others; their changes add up.
  void set(const Names& names) {
    for (const std::string& name : names) at(name);  // all names are checked before any is set
    for (const auto& [name, one] : switches_) one->active = std::ranges::count(names, name) > 0;
  }
  void set(const std::string& name) { set(Names{name}); }
  /// The base alone.
  void disable() { set(Names{}); }
  /// What an adapter adds is multiplied by `weight` from now on.
  void weigh(const std::string& name, double weight) {
    check(std::isfinite(weight), "[adapters] the weight of '{}' must be a finite number", name);
    at(name)->weight = weight;
  }

  /// Trains this adapter and freezes every other: a stage on top of those before it, which go on acting if they are
  /// active.
  void train_only(const std::string& name) {
    at(name);
    const auto choose = [&](const std::string&, auto& lora) {
      const bool trains = lora.adapter().name == name;
      lora.visit([&](const std::string&, auto weight) {
        std::visit([&](auto* tensor) { trains ? make_trainable(*tensor) : freeze(*tensor); }, weight);
      });
    };
    visit_loras(choose);
    visit_lookups(choose);
  }

  /// Removes an adapter.
  void erase(const std::string& name) {
    at(name);
    model_->visit_linears([&](const std::string&, Linear<T, D>& linear, std::size_t part) {
      std::erase_if(linear.bypasses(part), [&](const Bypass<T, D>& bypass) {
        const auto* lora = bypass.template get_if<LoraBypass<T, D>>();
        return lora != nullptr && lora->adapter().name == name;
      });
    });
    std::erase_if(model_->lookup_bypasses(), [&](const auto& bypass) {
      const auto* lora = bypass.template get_if<LoraEmbedding<T, D>>();
      return lora != nullptr && lora->adapter().name == name;
    });
    switches_.erase(name);
    model_->kept_keys.erase(name);
    std::erase(names_, name);
  }

  /// Adds an adapter made of others, w_1 d_1 + w_2 d_2 + ...; it does not act until it is set. PEFT's
  /// add_weighted_adapter.
  void add_weighted(const std::string& name, const Names& sources, const std::vector<double>& weights,
                    Combination how = Combination::cat) {
    check(!sources.empty() && sources.size() == weights.size(),
          "[adapters] {} adapters and {} weights: wanted as many of both, and at least one", sources.size(),
          weights.size());
    for (const std::string& source : sources) at(source);
    const auto found = sources_by_path(sources, weights);
    const auto picked = detail::pick_linears(*model_, [&](const std::string& path) -> std::optional<LoRA> {
      const auto here = found.find(path);
      if (here == found.end()) return std::nullopt;
      const std::int64_t rank = combined_rank(path, here->second, how);
      return LoRA{.r = rank, .alpha = static_cast<double>(rank)};
    });
    const auto adapter = add(name);
    adapter->active = false;
    for (const auto& one : picked) {
      const auto stack = detail::put_beside(one, adapter);
      for (std::size_t i = 0; i < one.specs.size(); ++i)
        combine(found.at(one.specs[i].path), how, stack->a(i), stack->b(i));
    }
  }

  /// Gives every document of `batch` an adapter of its own ("" for the base alone), while the result lives: evaluation
  /// of rows of different adapters in one batch. Padding sees none.
  MixedRows mix(const Batch& batch, const Names& of_documents) {
    const auto count = of_documents.size();
    check(count <= static_cast<std::size_t>(batch.document_count()), "[adapters] {} names for a batch of {} documents",
          count, batch.document_count());
    for (const std::string& name : of_documents)
      if (!name.empty()) at(name);
    MixedRows::Switches all;
    for (const auto& [name, one] : switches_) all.push_back(one);
    MixedRows out(all);
    for (const auto& one : all) *one = {.name = one->name, .weight = one->weight, .mixed = true};
    for (std::size_t i = 0; i < count; ++i) {
      const TokenRange range{batch.documents[i], batch.documents[i + 1] - batch.documents[i]};
      if (of_documents[i].empty() || range.count == 0) continue;
      auto& ranges = switches_.at(of_documents[i])->ranges;
      if (!ranges.empty() && ranges.back().begin + ranges.back().count == range.begin)
        ranges.back().count += range.count;
      else
        ranges.push_back(range);
    }
    return out;
  }

 private:
  struct Source {
    LoraBypass<T, D>* lora;
    double weight;  // with its scale
  };

  std::shared_ptr<AdapterSwitch> add(const std::string& name) {
    check(!name.empty(), "[adapters] an adapter needs a name");
    check(!switches_.contains(name), "[adapters] there is an adapter called '{}' already", name);
    auto out = std::make_shared<AdapterSwitch>();
    out->name = name;
    out->active = switches_.empty();
    switches_[name] = out;
    names_.push_back(name);
    return out;
  }
  AdapterSwitch* at(const std::string& name) const {
    const auto found = switches_.find(name);
    check(found != switches_.end(), "[adapters] there is no adapter called '{}' (nearest: {})", name,
          join_or(nearest_names(name, names_, 2)));
    return found->second.get();
  }

  template <class F>
  void visit_loras(F&& f) {
    model_->visit_linears([&](const std::string& path, Linear<T, D>& linear, std::size_t part) {
      for (const Bypass<T, D>& bypass : linear.bypasses(part))
        if (auto* lora = bypass.template get_if<LoraBypass<T, D>>()) f(path, *lora);
    });
  }

  template <class F>
  void visit_lookups(F&& f) {
    for (const auto& bypass : model_->lookup_bypasses())
      if (auto* lora = bypass.template get_if<LoraEmbedding<T, D>>()) f(embedding_path, *lora);
  }

  std::map<std::string, std::vector<Source>> sources_by_path(const Names& sources, const std::vector<double>& weights) {
    std::map<std::string, std::vector<Source>> out;
    visit_lookups([&](const std::string&, const auto& lora) {
      check(std::ranges::count(sources, lora.adapter().name) == 0,
            "[adapters] '{}' adapts the embeddings: it cannot be combined", lora.adapter().name);
    });
    for (std::size_t i = 0; i < sources.size(); ++i)
      visit_loras([&](const std::string& path, LoraBypass<T, D>& lora) {
        if (lora.adapter().name != sources[i]) return;
        check(!lora.config().use_dora, "[adapters] '{}' is DoRA, whose scaling is not a sum: it cannot be combined",
              sources[i]);
        out[path].push_back({&lora, weights[i] * lora.config().scale()});
      });
    return out;
  }

  static std::int64_t combined_rank(const std::string& path, const std::vector<Source>& sources, Combination how) {
    std::int64_t rank = 0;
    for (const Source& source : sources) {
      const std::int64_t r = source.lora->config().r;
      check(how == Combination::cat || rank == 0 || rank == r,
            "[adapters] a linear combination wants equal ranks, {} has {} and {}; use cat", path, rank, r);
      rank = how == Combination::cat ? rank + r : r;
    }
    return rank;
  }

  /// cat: A is the As times their weights, one above the other, B the Bs side by side. linear: sums of both, each times
  /// the root of the weight.
  static void combine(const std::vector<Source>& sources, Combination how, const Tensor<AdapterElement<T>, D>& a,
                      const Tensor<AdapterElement<T>, D>& b) {
    using A = AdapterElement<T>;
    const auto rank = static_cast<std::size_t>(b.extent(1));
    std::vector<A> of_a(static_cast<std::size_t>(a.elements())), of_b(static_cast<std::size_t>(b.elements()));
    std::size_t first = 0;
    for (const Source& source : sources) {
      const auto from_a = source.lora->a().to_vector(), from_b = source.lora->b().to_vector();
      const auto r = static_cast<std::size_t>(source.lora->config().r);
      const double root = std::sqrt(std::abs(source.weight));
      const auto times_a = static_cast<A>(how == Combination::cat ? source.weight : std::copysign(root, source.weight));
      const auto times_b = static_cast<A>(how == Combination::cat ? 1.0 : root);
      if (from_a.empty()) continue;  // Meta
      const std::size_t width = of_a.size() / rank;
      for (std::size_t i = 0; i < from_a.size(); ++i) of_a[first * width + i] += times_a * from_a[i];
      for (std::size_t i = 0; i < from_b.size(); ++i) of_b[i / r * rank + first + i % r] += times_b * from_b[i];
      if (how == Combination::cat) first += r;
    }
    a.copy_from(of_a);
    b.copy_from(of_b);
  }

  Model* model_;
  std::map<std::string, std::shared_ptr<AdapterSwitch>> switches_;
  Names names_;
  bool whole_modules_ = false;
};

/// While one lives, others may be set, but none erased; afterwards those act that did before.
template <class Model>
class [[nodiscard]] ActiveAdapters {
 public:
  explicit ActiveAdapters(Adapters<Model>& adapters) : adapters_(&adapters), before_(adapters.active()) {}
  ~ActiveAdapters() { adapters_->set(before_); }
  ActiveAdapters(const ActiveAdapters&) = delete;
  ActiveAdapters& operator=(const ActiveAdapters&) = delete;

 private:
  Adapters<Model>* adapters_;
  std::vector<std::string> before_;
};

}  // namespace hone
