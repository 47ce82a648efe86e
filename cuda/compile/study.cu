// Every rung of every study ladder. The last rung of GEMM has a body on sm_90a only.
#include <hone/study/attention.cuh>
#include <hone/study/cross_entropy.cuh>
#include <hone/study/gemm.cuh>
#include <hone/study/rms_norm.cuh>

#include <cstddef>

namespace hone {
inline namespace HONE_TARGET {

template <class Args, std::size_t N>
void climb(KernelDevice& device, const StudyRung<Args> (&rungs)[N], const Args& args) {
  for (const auto rung : rungs) rung(device, args);
}

void climb_all(KernelDevice& device) {
  climb(device, rms_norm_rungs<bf16>, {});
  climb(device, rms_norm_rungs<float>, {});
  climb(device, cross_entropy_rungs<float>, {});
  climb(device, gemm_rungs<bf16>, {});
  climb(device, gemm_rungs<float>, {});
  climb(device, attention_rungs<bf16>, {});
  climb(device, attention_rungs<float>, {});
}

}  // namespace HONE_TARGET
}  // namespace hone
