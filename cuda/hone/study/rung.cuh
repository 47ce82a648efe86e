// What the rungs of a ladder have in common. A ladder's own header (gemm.cuh, ...) lists its rungs in order; tests,
// `hone bench kernels --emu` and cuda/study_check.cu climb that list.
#pragma once

#include <hone/device/launch.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// Launches one rung; all rungs of a ladder take the same arguments.
template <class Args>
using StudyRung = void (*)(KernelDevice&, const Args&);

}  // namespace HONE_TARGET
}  // namespace hone
