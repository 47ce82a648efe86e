#include <hone/cuda_kernels.cuh>

#include "engine_cuda.cuh"

namespace hone::cli {

std::unique_ptr<Engine> make_cuda_bf16_engine() { return std::make_unique<CudaEngine<bf16>>(); }

Card local_card() { return find_card(); }

gpu::GemmTuning tune_local_card(const std::set<gpu::GemmShape>& shapes, gpu::TuneReport report) {
  return gpu::tune_gemms(open_card(), shapes, {}, report);
}

}  // namespace hone::cli
