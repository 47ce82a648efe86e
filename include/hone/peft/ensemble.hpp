// An ensemble of adapters on one base: each member reads the text by itself, and what counts is the mean of their
// logits.
#pragma once

#include <hone/nn/device_batch.hpp>
#include <hone/peft/adapters.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
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

/// Calls f(member, share) with each member's adapters acting; afterwards, also when a member fails, those act that did
/// before.
template <class Model, class F>
void for_members(Adapters<Model>& adapters, const std::vector<EnsembleMember>& members, F&& f) {
  const std::vector<double> shares = normed_shares(members);
  const ActiveAdapters put_back(adapters);
  for (std::size_t i = 0; i < members.size(); ++i) {
    adapters.set(members[i].adapters);
    f(i, shares[i]);
  }
}

/// The mean, by shares, of the tensors that `values_of()` gives, in fp64.
template <class Model, class F>
std::vector<double> mean_of_members(Adapters<Model>& adapters, const std::vector<EnsembleMember>& members,
                                    F&& values_of) {
  std::vector<double> out;
  for_members(adapters, members, [&](std::size_t, double share) {
    const auto values = values_of().to_vector();
    out.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) out[i] += share * static_cast<double>(values[i]);
  });
  return out;
}

}  // namespace detail

/// The mean of the members' logits, (N, vocab_size). Which adapters act is afterwards as before.
template <class Model>
std::vector<double> ensemble_logits(const Model& model, Adapters<Model>& adapters,
                                    const std::vector<EnsembleMember>& members, const Batch& batch) {
  return detail::mean_of_members(adapters, members, [&] { return model.logits(batch); });
}

/// Negative log-likelihood of every supervised token of a batch under the mean of the members' logits, in order. The
/// output projection is linear and the same for all: it runs once, on the mean of their hidden states.
template <class Model>
std::vector<double> ensemble_token_losses(const Model& model, Adapters<Model>& adapters,
                                          const std::vector<EnsembleMember>& members, const Batch& batch) {
  using T = typename Model::Element;
  using D = typename Model::DeviceType;
  const no_grad guard;
  const DeviceBatch<D> uploaded = upload(batch, model.device());
  const auto mean = detail::mean_of_members(adapters, members, [&] { return model.hidden(uploaded); });
  std::vector<T> states;
  states.reserve(mean.size());
  for (const double value : mean) states.push_back(static_cast<T>(static_cast<Accumulator<T>>(value)));
  const Shape shape{uploaded.tokens(), model.config().hidden_size};
  const auto losses = model.token_losses(uploaded, Tensor<T, D>::from(model.device(), shape, states)).to_vector();
  return {losses.begin(), losses.end()};
}

}  // namespace hone
