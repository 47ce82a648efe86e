// An ensemble of adapters on one base: each member reads the text by itself, and what is chosen from is the mean of
// their logits.
#pragma once

#include <hone/infer/generate.hpp>
#include <hone/ops/columns.hpp>
#include <hone/peft/adapters.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hone {

/// The adapters that act together as one member (none: the base alone), and how much its logits count.
struct EnsembleMember {
  std::vector<std::string> adapters;
  double share = 1;  ///< over the sum of all shares
};

namespace detail {

/// Each member's share of the whole.
inline std::vector<double> normed_shares(const std::vector<EnsembleMember>& members) {
  check(!members.empty(), "[ensemble] there are no members");
  double sum = 0;
  for (const EnsembleMember& member : members) {
    check(std::isfinite(member.share) && member.share >= 0, "[ensemble] a share of {} must be a number from 0 on",
          member.share);
    sum += member.share;
  }
  check(sum > 0 && std::isfinite(sum), "[ensemble] the shares sum to {}; one at least must be above 0", sum);
  std::vector<double> out;
  for (const EnsembleMember& member : members) out.push_back(member.share / sum);
  return out;
}

}  // namespace detail

/// Continues `prompt` as generate() does, from the mean of the members' logits, weighted by their shares. Every member
/// has a cache of its own and runs over every token, so that time and cache grow with their number. Which adapters act
/// is afterwards as before.
template <class Model>
std::vector<std::int32_t> generate_ensemble(const Model& model, Adapters<Model>& adapters,
                                            const std::vector<EnsembleMember>& members,
                                            std::span<const std::int32_t> prompt, const GenerateOptions& options,
                                            FunctionRef<bool(std::int32_t)> on_token) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  using A = Accumulator<T>;
  const std::vector<double> shares = detail::normed_shares(members);
  const auto begin = [&](std::int64_t capacity) {
    std::vector<KvCache<T, D>> caches;
    for (std::size_t i = 0; i < members.size(); ++i) caches.push_back(model.make_cache(capacity));
    return [&, caches = std::move(caches)](std::span<const std::int32_t> ids) mutable {
      auto mean =
          Tensor<A, D>::empty(model.device(), {1, model.config().vocab_size}, {Category::activations, "logits"});
      fill(mean, A{0});
      for (std::size_t i = 0; i < members.size(); ++i) {
        adapters.set(members[i].adapters);
        add_columns_in_place(mean, 0, model.logits(ids, caches[i]).viewed_as({mean.elements()}), shares[i]);
      }
      return mean;
    };
  };
  const auto before = adapters.active();
  struct PutBack {  // also when a member fails
    Adapters<Model>& adapters;
    const std::vector<std::string>& names;
    ~PutBack() { adapters.set(names); }
  } const put_back{adapters, before};
  const no_grad guard;
  return detail::generate_with(model, prompt, options, on_token, begin);
}

}  // namespace hone
