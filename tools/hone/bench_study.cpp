#include "bench_kernels.hpp"

#include <hone/study/attention.cuh>
#include <hone/study/cross_entropy.cuh>
#include <hone/study/gemm.cuh>
#include <hone/study/rms_norm.cuh>

#include <cstddef>

namespace hone::cli {
namespace {

/// A device with every rung's instructions.
Emu newest() { return Emu(Target{.kind = DeviceKind::emu, .alignment = 256, .sm = 90}); }

void climb_rms_norm(StudyRung<StudyRmsNorm<bf16>> rung) {
  Emu device = newest();
  const auto x = values<bf16>(device, {32, 896}), y = values<bf16>(device, {32, 896}),
             weight = values<bf16>(device, {896});
  rung(device, {rows_of(x.in<2>()), weight.in<1>().data, 1e-6f, rows_of(y.view<2>()), x.extent(0), x.extent(1)});
}

void climb_cross_entropy(StudyRung<StudyCrossEntropy<float>> rung) {
  Emu device = newest();
  const auto logits = values<float>(device, {32, 4096}), losses = values<float>(device, {32});
  const auto targets = ids(device, 32, 4096);
  rung(device, {rows_of(logits.view<2>()), targets.in<1>().data, losses.view<1>().data, 32, 4096});
}

void climb_gemm(StudyRung<StudyGemm<float>> rung) {
  Emu device = newest();
  const auto a = values<bf16>(device, {64, 64}), b = values<bf16>(device, {64, 128});
  const auto c = values<float>(device, {64, 128});
  rung(device, {rows_of(a.in<2>()), rows_of(b.in<2>()), rows_of(c.view<2>()), 64, 128, 64});
}

void climb_attention(StudyRung<StudyAttention<bf16>> rung) {
  Emu device = newest();
  constexpr int length = 128;
  const auto q = values<bf16>(device, {length, study_head_dim}), out = values<bf16>(device, {length, study_head_dim});
  const auto scores = values<float>(device, {length, length});
  rung(device, {rows_of(q.in<2>()), rows_of(q.in<2>()), rows_of(q.in<2>()), rows_of(out.view<2>()),
                scores.view<2>().data, length, 1, 0.125f});
}

template <class Args, std::size_t N>
void add(std::vector<KernelCase>& cases, const char* shapes, const StudyRung<Args> (&rungs)[N],
         void (*climb)(StudyRung<Args>)) {
  for (const auto rung : rungs) cases.push_back({shapes, [rung, climb](const Emu&) { climb(rung); }});
}

}  // namespace

std::vector<KernelCase> study_cases() {
  std::vector<KernelCase> cases;
  add(cases, "(32, 896)", rms_norm_rungs<bf16>, &climb_rms_norm);
  add(cases, "(32, 4096)", cross_entropy_rungs<float>, &climb_cross_entropy);
  add(cases, "(64, 64) x (64, 128)", gemm_rungs<float>, &climb_gemm);
  add(cases, "(128, 64), causal", attention_rungs<bf16>, &climb_attention);
  return cases;
}

}  // namespace hone::cli
