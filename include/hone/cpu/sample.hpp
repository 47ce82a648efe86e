// Choosing the next token from a row of logits on the CPU: sorts what can be drawn. See tensor/sampling_rule.hpp.
#pragma once

#include <hone/cpu/partition.hpp>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/sampling_rule.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

namespace hone {

namespace kernel {
struct Sample;
}

namespace cpu {

struct SampleCandidate {
  std::uint32_t key;
  std::int32_t id;
  std::uint32_t weight;
};

/// The token that `rule` chooses. `logit(i)` is the logit of token i; `scratch` has room for all of them.
template <class Logit>
std::int32_t sample(std::int64_t count, const Logit& logit, const SamplingRule& rule,
                    std::span<SampleCandidate> scratch) {
  const auto before = [](const SampleCandidate& a, const SampleCandidate& b) {
    return a.key > b.key || (a.key == b.key && a.id < b.id);
  };
  SampleCandidate best{0, 0, 0};
  for (std::int64_t i = 0; i < count; ++i)
    if (const std::uint32_t key = sampling_key(logit(i)); i == 0 || key > best.key)
      best = {key, static_cast<std::int32_t>(i), 0};
  if (rule.temperature == 0) return best.id;
  const float top = logit(best.id);
  std::uint32_t lowest = best.key;  // of those that can be drawn
  for (std::int64_t i = 0; i < count; ++i)
    if (sampling_weight(logit(i), top, rule.temperature) > 0) lowest = std::min(lowest, sampling_key(logit(i)));
  std::size_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t key = sampling_key(logit(i));
    if (key >= lowest)
      scratch[kept++] = {key, static_cast<std::int32_t>(i), sampling_weight(logit(i), top, rule.temperature)};
  }
  auto candidates = scratch.first(kept);
  if (rule.top_k > 0 && static_cast<std::uint64_t>(rule.top_k) < kept) {
    const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(rule.top_k);
    std::nth_element(candidates.begin(), end - 1, candidates.end(), before);
    candidates = candidates.first(static_cast<std::size_t>(rule.top_k));
  }
  std::sort(candidates.begin(), candidates.end(), before);
  std::uint64_t sum = 0;
  for (const SampleCandidate& one : candidates) sum += one.weight;
  if (rule.top_p < 1) {
    const std::uint64_t wanted = sampling_nucleus(sum, rule.top_p);
    sum = 0;
    for (std::size_t i = 0; sum < wanted; ++i) sum += candidates[i].weight;
  }
  std::uint64_t reached = 0;
  const std::uint64_t point = sampling_point(sum, sampling_bits(rule));
  for (const SampleCandidate& one : candidates)
    if ((reached += one.weight) > point) return one.id;
  return best.id;  // the point is below the sum
}

}  // namespace cpu

/// Scratch bytes of Sample on the CPU.
inline std::int64_t sample_workspace_bytes(const Target&, std::int64_t tokens) {
  return checked_mul(tokens, std::int64_t{sizeof(cpu::SampleCandidate)}, "[sample] workspace");
}

/// id (1) = the token that `rule` chooses from the only row of logits (1, V), where tokens with seen (V) = 1 are
/// penalised; the chosen one is then seen.
template <class S>
void run(Tag<kernel::Sample>, Cpu& device, View<const S, 2> logits, const SamplingRule& rule,
         View<std::uint8_t, 1> seen, View<std::int32_t, 1> id, View<std::byte, 1> workspace) {
  const std::int64_t count = logits.extent(1);
  auto* scratch =
      cpu::workspace_as<cpu::SampleCandidate>("sample", workspace, sample_workspace_bytes(device.target(), count));
  const auto logit = [&](std::int64_t i) {
    const auto value = static_cast<float>(logits(0, i));
    return rule.repetition_penalty != 1 && seen(i) != 0 ? penalised(value, rule.repetition_penalty) : value;
  };
  id(0) = cpu::sample(count, logit, rule, {scratch, static_cast<std::size_t>(count)});
  seen(id(0)) = 1;
}

}  // namespace hone
